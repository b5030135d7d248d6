package wasi

// Flags of path_open.
const (
	openCreate    = 1
	openDirectory = 2
	openExclusive = 4
	openTruncate  = 8
)

// at resolves a path argument relative to a directory descriptor.
func (st *State) at(fd, ptr, n uint64) (where, Errno) {
	from, e := st.dir(fd)
	if e != ESUCCESS {
		return where{}, e
	}
	b, ok := st.slice(ptr, n)
	if !ok {
		return where{}, EFAULT
	}
	st.moved(len(b))
	return st.tmp.walk(from, b)
}

// existing is at for paths that must name something.
func (st *State) existing(fd, ptr, n uint64) (where, Errno) {
	w, e := st.at(fd, ptr, n)
	if e == ESUCCESS && w.node == nil {
		e = ENOENT
	}
	return w, e
}

func pathOpen(st *State, p []uint64) Errno {
	w, e := st.at(p[0], p[2], p[3])
	if e != ESUCCESS {
		return e
	}
	if _, ok := st.slice(p[8], 4); !ok {
		return EFAULT
	}
	flags, rights := uint32(p[4]), p[5]
	if flags > 15 || uint32(p[7])&^flagsKnown != 0 {
		return EINVAL
	}
	if e := st.openable(&w, flags, rights); e != ESUCCESS {
		return e
	}
	d := descriptor{kind: kindFile, node: w.node, rights: rights, flags: uint16(p[7])}
	if w.node.dir {
		d.kind, d.rights = kindDir, 0
	}
	fd, e := st.open(d)
	if e != ESUCCESS {
		return e
	}
	if flags&openTruncate != 0 && !w.node.dir {
		st.tmp.truncate(w.node, 0)
		w.node.modified = st.now()
	}
	return st.putU32(p[8], fd)
}

// openable checks what path_open may do with w, and makes the file if asked.
func (st *State) openable(w *where, flags uint32, rights uint64) Errno {
	if w.node == nil {
		if flags&openCreate == 0 {
			return ENOENT
		}
		if flags&openDirectory != 0 {
			return EINVAL
		}
		if w.slash {
			return EISDIR
		}
		n, e := st.tmp.add(*w, false, st.now())
		w.node = n
		return e
	}
	switch {
	case flags&openExclusive != 0 && flags&openCreate != 0:
		return EEXIST
	case flags&openDirectory != 0 && !w.node.dir:
		return ENOTDIR
	case w.node.dir && (flags&(openCreate|openTruncate) != 0 || rights&rightWrite != 0 && flags&openDirectory == 0):
		return EISDIR
	case flags&openTruncate != 0 && rights&rightWrite == 0:
		return EINVAL
	}
	return ESUCCESS
}

func pathCreateDirectory(st *State, p []uint64) Errno {
	w, e := st.at(p[0], p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	if w.node != nil {
		return EEXIST
	}
	_, e = st.tmp.add(w, true, st.now())
	return e
}

func pathFilestatGet(st *State, p []uint64) Errno {
	w, e := st.existing(p[0], p[2], p[3])
	if e != ESUCCESS {
		return e
	}
	return st.putFilestat(p[4], w.node)
}

func pathFilestatSetTimes(st *State, p []uint64) Errno {
	w, e := st.existing(p[0], p[2], p[3])
	if e != ESUCCESS {
		return e
	}
	return st.setTimes(w.node, p[4], p[5], p[6])
}

func pathRemoveDirectory(st *State, p []uint64) Errno {
	w, e := st.existing(p[0], p[1], p[2])
	switch {
	case e != ESUCCESS:
		return e
	case !w.node.dir:
		return ENOTDIR
	case w.name == "":
		return EINVAL
	case len(w.node.children) > 0:
		return ENOTEMPTY
	}
	st.tmp.remove(w.node, st.now())
	return ESUCCESS
}

func pathUnlinkFile(st *State, p []uint64) Errno {
	w, e := st.existing(p[0], p[1], p[2])
	switch {
	case e != ESUCCESS:
		return e
	case w.node.dir:
		return EISDIR
	}
	st.tmp.remove(w.node, st.now())
	return ESUCCESS
}

func pathRename(st *State, p []uint64) Errno {
	from, e := st.existing(p[0], p[1], p[2])
	if e != ESUCCESS {
		return e
	}
	to, e := st.at(p[3], p[4], p[5])
	if e != ESUCCESS {
		return e
	}
	return st.tmp.rename(from, to, st.now())
}

// pathReadlink answers as for a file system on which no link exists.
func pathReadlink(st *State, p []uint64) Errno {
	if _, e := st.existing(p[0], p[1], p[2]); e != ESUCCESS {
		return e
	}
	return EINVAL
}
