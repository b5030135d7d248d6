package wasi

import (
	"cmp"
	"encoding/binary"
	"slices"
)

type kind uint8

const (
	kindClosed kind = iota
	kindStdin
	kindStdout
	kindStderr
	kindDir
	kindFile
)

// File types of the specification.
const (
	typeUnknown   = 0
	typeDirectory = 3
	typeRegular   = 4
)

// Descriptor flags and the rights that decide anything here.
const (
	flagAppend     = 1
	flagsKnown     = 0x1f
	rightRead      = 1 << 1
	rightWrite     = 1 << 6
	rightsAll      = 1<<30 - 1
	rightsStdin    = rightRead | rightPoll
	rightsStdout   = rightWrite | rightPoll
	rightPoll      = 1 << 27
	filestatSize   = 64
	fdstatSize     = 24
	direntSize     = 24
	timesSet       = 1
	timesNow       = 2
	tmpName        = "/tmp"
	whenceSet      = 0
	whenceCurrent  = 1
	whenceEnd      = 2
	preopenTypeDir = 0
)

type descriptor struct {
	kind    kind
	preopen bool
	node    *node // nil stands for the root
	offset  uint64
	flags   uint16
	rights  uint64
}

// fd finds an open descriptor.
func (st *State) fd(n uint64) (*descriptor, Errno) {
	i := uint32(n)
	if uint64(i) >= uint64(len(st.fds)) || st.fds[i].kind == kindClosed {
		return nil, EBADF
	}
	return &st.fds[i], ESUCCESS
}

// file finds an open regular file.
func (st *State) file(n uint64) (*descriptor, Errno) {
	d, e := st.fd(n)
	switch {
	case e != ESUCCESS:
		return nil, e
	case d.kind == kindDir:
		return nil, EISDIR
	case d.kind != kindFile:
		return nil, ESPIPE
	}
	return d, ESUCCESS
}

// dir finds an open directory.
func (st *State) dir(n uint64) (*node, Errno) {
	d, e := st.fd(n)
	switch {
	case e != ESUCCESS:
		return nil, e
	case d.kind != kindDir:
		return nil, ENOTDIR
	}
	return st.nodeOf(d), ESUCCESS
}

// nodeOf gives the node of an open file or directory.
func (st *State) nodeOf(d *descriptor) *node {
	if d.node == nil {
		return st.tmp.base()
	}
	return d.node
}

// available is how many bytes a read would find.
func (st *State) available(n uint32) uint64 {
	switch d := &st.fds[n]; d.kind {
	case kindStdin:
		return uint64(len(st.call.Stdin) - st.stdin)
	case kindFile:
		return d.node.size - min(d.offset, d.node.size)
	}
	return 0
}

// open puts a descriptor into the lowest free place, as POSIX demands.
func (st *State) open(d descriptor) (uint64, Errno) {
	i := slices.IndexFunc(st.fds, func(d descriptor) bool { return d.kind == kindClosed })
	if i < 0 {
		if i = len(st.fds); i == maxDescriptors {
			return 0, EMFILE
		}
		st.fds = append(st.fds, descriptor{})
	}
	st.fds[i] = d
	if d.node != nil {
		d.node.opens++
	}
	return uint64(i), ESUCCESS
}

func fdClose(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if n := d.node; n != nil {
		n.opens--
		st.tmp.release(n)
	}
	*d = descriptor{}
	return ESUCCESS
}

func fdRenumber(st *State, p []uint64) Errno {
	from, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	to, e := st.fd(p[1])
	if e != ESUCCESS {
		return e
	}
	if from == to {
		return ESUCCESS
	}
	moved := *from
	fdClose(st, p[1:])
	*to, *from = moved, descriptor{}
	return ESUCCESS
}

// fdKnown is for calls that have nothing to do but check the descriptor:
// advice and flushing to a disk that is not there.
func fdKnown(st *State, p []uint64) Errno {
	_, e := st.fd(p[0])
	return e
}

func fdFdstatGet(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	b, ok := st.slice(p[1], fdstatSize)
	if !ok {
		return EFAULT
	}
	clear(b)
	rights, inheriting := d.rights, uint64(0)
	switch d.kind {
	case kindStdin:
		rights = rightsStdin
	case kindStdout, kindStderr:
		rights = rightsStdout
	case kindDir:
		b[0], rights, inheriting = typeDirectory, rightsAll, rightsAll
	case kindFile:
		b[0] = typeRegular
	}
	binary.LittleEndian.PutUint16(b[2:], d.flags)
	binary.LittleEndian.PutUint64(b[8:], rights)
	binary.LittleEndian.PutUint64(b[16:], inheriting)
	return ESUCCESS
}

func fdFdstatSetFlags(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if uint32(p[1])&^flagsKnown != 0 {
		return EINVAL
	}
	d.flags = uint16(p[1])
	return ESUCCESS
}

// fdFdstatSetRights lets rights be given up, never gained.
func fdFdstatSetRights(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.kind != kindFile {
		return ENOTSUP
	}
	if p[1]&^d.rights != 0 {
		return ENOTCAPABLE
	}
	d.rights = p[1]
	return ESUCCESS
}

func fdFilestatGet(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.kind == kindDir || d.kind == kindFile {
		return st.putFilestat(p[1], st.nodeOf(d))
	}
	b, ok := st.slice(p[1], filestatSize)
	if !ok {
		return EFAULT
	}
	clear(b)
	b[16], b[24] = typeUnknown, 1
	return ESUCCESS
}

func (st *State) putFilestat(ptr uint64, n *node) Errno {
	b, ok := st.slice(ptr, filestatSize)
	if !ok {
		return EFAULT
	}
	clear(b)
	le := binary.LittleEndian
	le.PutUint64(b, 1)
	le.PutUint64(b[8:], n.id)
	b[16] = typeRegular
	if n.dir {
		b[16] = typeDirectory
	}
	le.PutUint64(b[24:], 1)
	le.PutUint64(b[32:], n.size)
	le.PutUint64(b[40:], n.accessed)
	le.PutUint64(b[48:], n.modified)
	le.PutUint64(b[56:], n.changed)
	return ESUCCESS
}

func fdFilestatSetSize(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.rights&rightWrite == 0 {
		return EBADF
	}
	d.node.modified = st.now()
	return st.tmp.truncate(d.node, p[1])
}

func fdAllocate(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.rights&rightWrite == 0 {
		return EBADF
	}
	if p[2] == 0 || p[1] > maxFileSize || p[2] > maxFileSize {
		return EINVAL
	}
	if p[1]+p[2] <= d.node.size {
		return ESUCCESS
	}
	return st.tmp.truncate(d.node, p[1]+p[2])
}

func fdFilestatSetTimes(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if d.kind != kindDir && d.kind != kindFile {
		return EBADF
	}
	return st.setTimes(st.nodeOf(d), p[1], p[2], p[3])
}

func (st *State) setTimes(n *node, accessed, modified, how uint64) Errno {
	a, m := how&3, how>>2&3
	if how > 15 || a == timesSet|timesNow || m == timesSet|timesNow {
		return EINVAL
	}
	now := st.now()
	set := func(to *uint64, v, how uint64) {
		switch how {
		case timesSet:
			*to = v
		case timesNow:
			*to = now
		}
	}
	set(&n.accessed, accessed, a)
	set(&n.modified, modified, m)
	n.changed = now
	return ESUCCESS
}

func fdPrestatGet(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if !d.preopen {
		return EBADF
	}
	b, ok := st.slice(p[1], 8)
	if !ok {
		return EFAULT
	}
	clear(b)
	b[0] = preopenTypeDir
	binary.LittleEndian.PutUint32(b[4:], uint32(len(tmpName)))
	return ESUCCESS
}

func fdPrestatDirName(st *State, p []uint64) Errno {
	d, e := st.fd(p[0])
	if e != ESUCCESS {
		return e
	}
	if !d.preopen {
		return EBADF
	}
	b, ok := st.slice(p[1], p[2])
	if !ok {
		return EFAULT
	}
	if len(b) < len(tmpName) {
		return ENAMETOOLONG
	}
	copy(b, tmpName)
	return ESUCCESS
}

func fdSeek(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	var from uint64
	switch uint32(p[2]) {
	case whenceSet:
	case whenceCurrent:
		from = d.offset
	case whenceEnd:
		from = d.node.size
	default:
		return EINVAL
	}
	to := int64(from) + int64(p[1])
	if to < 0 || to > maxFileSize {
		return EINVAL
	}
	if e := st.putU64(p[3], uint64(to)); e != ESUCCESS {
		return e
	}
	d.offset = uint64(to)
	return ESUCCESS
}

func fdTell(st *State, p []uint64) Errno {
	d, e := st.file(p[0])
	if e != ESUCCESS {
		return e
	}
	return st.putU64(p[1], d.offset)
}

func fdReaddir(st *State, p []uint64) Errno {
	n, e := st.dir(p[0])
	if e != ESUCCESS {
		return e
	}
	buf, ok := st.slice(p[1], p[2])
	if !ok {
		return EFAULT
	}
	st.hooks.Charge(16 * uint64(len(n.children)+1))
	list := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		if c.id > p[3] {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	used := 0
	if p[3] < 1 {
		used += putDirent(buf[used:], 1, &node{id: n.id, dir: true, name: "."})
	}
	if p[3] < 2 {
		used += putDirent(buf[used:], 2, &node{id: n.id, dir: true, name: ".."})
	}
	for _, c := range list {
		if used == len(buf) {
			break
		}
		used += putDirent(buf[used:], c.id, c)
	}
	st.moved(used)
	return st.putU32(p[4], uint64(used))
}

// putDirent writes an entry, cut off where the buffer ends, as specified.
func putDirent(buf []byte, cookie uint64, n *node) int {
	var head [direntSize]byte
	le := binary.LittleEndian
	le.PutUint64(head[:], cookie)
	le.PutUint64(head[8:], n.id)
	le.PutUint32(head[16:], uint32(len(n.name)))
	head[20] = typeRegular
	if n.dir {
		head[20] = typeDirectory
	}
	done := copy(buf, head[:])
	return done + copy(buf[done:], n.name)
}
