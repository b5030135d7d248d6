package wasi

func fdRead(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if e := d.readable(); e != ESUCCESS {
		return e
	}
	v, e := st.iovecs(p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	if _, ok := st.slice(p[3], 4); !ok {
		return EFAULT
	}
	total := 0
	for _, io := range v {
		b, _ := st.slice(uint64(io.ptr), uint64(io.n))
		n := 0
		if d.kind == kindStdin {
			n = copy(b, st.call.Stdin[st.stdin:])
			st.stdin += n
		} else {
			n = d.node.read(b, d.offset)
			d.offset += uint64(n)
		}
		total += n
		if n < len(b) {
			break
		}
	}
	st.moved(total)
	return st.putU32(p[3], uint64(total))
}

func (d *descriptor) readable() Errno {
	switch d.kind {
	case kindStdin:
		return ESUCCESS
	case kindDir:
		return EISDIR
	case kindFile:
		if d.rights&rightRead != 0 {
			return ESUCCESS
		}
	}
	return EBADF
}

func fdPread(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	if e := d.readable(); e != ESUCCESS {
		return e
	}
	v, e := st.iovecs(p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	if p[3] > maxFileSize {
		return EINVAL
	}
	at, total := p[3], 0
	for _, io := range v {
		b, _ := st.slice(uint64(io.ptr), uint64(io.n))
		n := d.node.read(b, at)
		at += uint64(n)
		total += n
		if n < len(b) {
			break
		}
	}
	st.moved(total)
	return st.putU32(p[4], uint64(total))
}

func fdWrite(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	v, e := st.iovecs(p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	if _, ok := st.slice(p[3], 4); !ok {
		return EFAULT
	}
	var total uint64
	switch d.kind {
	case kindStdout:
		total = st.writeOutput(v)
	case kindStderr:
		total = st.writeLog(v)
	case kindFile:
		if d.rights&rightWrite == 0 {
			return EBADF
		}
		if d.flags&flagAppend != 0 {
			d.offset = d.node.size
		}
		total, e = st.writeFile(d.node, v, d.offset)
		d.offset += total
	default:
		return EBADF
	}
	if e != ESUCCESS && total == 0 {
		return e
	}
	st.moved(int(min(total, 1<<32)))
	return st.putU32(p[3], total)
}

func (st *State) writeOutput(v []iovec) (total uint64) {
	for _, io := range v {
		b, _ := st.slice(uint64(io.ptr), uint64(io.n))
		if len(b) > st.call.OutputLimit-len(st.Output) {
			st.Stop(OutputTooLarge, nil)
		}
		st.Output = append(st.Output, b...)
		total += uint64(len(b))
	}
	return total
}

func (st *State) writeLog(v []iovec) (total uint64) {
	for _, io := range v {
		b, _ := st.slice(uint64(io.ptr), uint64(io.n))
		fits := b[:min(len(b), max(st.call.LogLimit-len(st.Log), 0))]
		st.Log = append(st.Log, fits...)
		st.LogDropped += len(b) - len(fits)
		total += uint64(len(b))
	}
	// A list of 1,024 buffers may name the same memory again and again.
	return min(total, 1<<32-1)
}

func (st *State) writeFile(n *node, v []iovec, at uint64) (total uint64, e Errno) {
	n.modified = st.now()
	for _, io := range v {
		b, _ := st.slice(uint64(io.ptr), uint64(io.n))
		done, e := st.tmp.write(n, b, at+total)
		total += uint64(done)
		if e != ESUCCESS {
			return total, e
		}
	}
	return total, ESUCCESS
}

func fdPwrite(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.rights&rightWrite == 0 {
		return EBADF
	}
	v, e := st.iovecs(p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	if _, ok := st.slice(p[4], 4); !ok {
		return EFAULT
	}
	if p[3] > maxFileSize {
		return EFBIG
	}
	total, e := st.writeFile(d.node, v, p[3])
	if e != ESUCCESS && total == 0 {
		return e
	}
	st.moved(int(min(total, 1<<32)))
	return st.putU32(p[4], total)
}
