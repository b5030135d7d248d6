package wasi

import (
	"strings"
	"unicode/utf8"
)

// Limits of /tmp. They bound what a guest can make the host do; the space is
// bounded by the guest's own memory limit.
const (
	maxEntries  = 4096
	maxName     = 255
	maxPath     = 4096
	maxDepth    = 32
	maxFileSize = 1 << 32
	chunkSize   = 4096
	chunkCost   = chunkSize + 24 // a chunk and its place in the list
	entryCost   = 256            // a node, its map entry and small change
	stepFuel    = 32             // of visiting an entry or a chunk
)

// tree is an in-memory file system with directories and files only: without
// links there is no way round a directory.
type tree struct {
	root    *node
	entries int
	next    uint64 // ordinals, used as inode numbers and as readdir cookies
	bytes   int64
	reserve func(int64) bool
	work    func(uint64) // takes fuel for what a step costs beyond the call's own price
}

// node is a file or a directory.
type node struct {
	name     string
	parent   *node // nil for the root and for what was removed
	children map[string]*node
	dir      bool
	id       uint64
	size     uint64
	chunks   [][]byte // nil chunks read as zeros
	opens    int
	accessed uint64
	modified uint64
	changed  uint64
}

// firstID leaves the cookies 1 and 2 to the entries "." and "..".
const firstID = 3

func (t *tree) wipe() {
	if t.bytes != 0 {
		t.reserve(-t.bytes)
	}
	t.root, t.entries, t.next, t.bytes = nil, 0, 0, 0
}

// base gives the root, made at its first use so that calls without files pay nothing.
func (t *tree) base() *node {
	if t.root == nil {
		t.root = &node{dir: true, id: 2, children: map[string]*node{}}
		t.next = firstID
	}
	return t.root
}

func (t *tree) charge(n int64) bool {
	if n > 0 && !t.reserve(n) {
		return false
	}
	if n < 0 {
		t.reserve(n)
	}
	t.bytes += n
	return true
}

// where is a resolved path: the entry, if it exists, and where it is or would be.
type where struct {
	parent *node
	name   string // empty if the path names the starting directory itself
	node   *node
	slash  bool // the path ended in a slash, so it must be a directory
}

// walk resolves a path below a directory. No path leaves the directory it is
// relative to: an absolute one or one that climbs out is ENOTCAPABLE.
func (t *tree) walk(from *node, path []byte) (where, Errno) {
	switch {
	case len(path) == 0:
		return where{}, ENOENT
	case len(path) > maxPath:
		return where{}, ENAMETOOLONG
	case !utf8.Valid(path):
		return where{}, EILSEQ
	}
	p := string(path)
	if strings.IndexByte(p, 0) >= 0 {
		return where{}, EINVAL
	}
	if p[0] == '/' {
		return where{}, ENOTCAPABLE
	}
	w := where{node: from, slash: p[len(p)-1] == '/'}
	depth := 0
	for p != "" {
		var part string
		part, p, _ = strings.Cut(p, "/")
		if e := w.step(part, &depth); e != ESUCCESS {
			return where{}, e
		}
	}
	if w.slash && w.node != nil && !w.node.dir {
		return where{}, ENOTDIR
	}
	return w, ESUCCESS
}

// step goes one component further.
func (w *where) step(part string, depth *int) Errno {
	if part == "" {
		return ESUCCESS
	}
	if w.node == nil {
		return ENOENT // something below a name that does not exist
	}
	if !w.node.dir {
		return ENOTDIR
	}
	switch {
	case part == ".":
		return ESUCCESS
	case part == "..":
		if *depth == 0 || w.node.parent == nil {
			return ENOTCAPABLE
		}
		*depth--
		w.node = w.node.parent
		w.parent, w.name = nil, ""
		if *depth > 0 {
			w.parent, w.name = w.node.parent, w.node.name
		}
		return ESUCCESS
	case len(part) > maxName:
		return ENAMETOOLONG
	}
	*depth++
	w.parent, w.name = w.node, part
	w.node = w.node.children[part]
	return ESUCCESS
}

func (n *node) depth() int {
	d := 0
	for ; n != nil; n = n.parent {
		d++
	}
	return d
}

// height is how many levels are below and including n.
func (n *node) height() int {
	h := 0
	for _, c := range n.children {
		h = max(h, c.height())
	}
	return h + 1
}

// add makes an entry at w.
func (t *tree) add(w where, dir bool, now uint64) (*node, Errno) {
	if w.parent == nil || w.name == "" {
		return nil, EEXIST
	}
	if w.parent.parent == nil && w.parent != t.root {
		return nil, ENOENT // the directory itself was removed
	}
	if t.entries >= maxEntries || w.parent.depth() >= maxDepth {
		return nil, ENOSPC
	}
	if !t.charge(entryCost + int64(len(w.name))) {
		return nil, ENOSPC
	}
	n := &node{name: w.name, parent: w.parent, dir: dir, id: t.next, accessed: now, modified: now, changed: now}
	if dir {
		n.children = map[string]*node{}
	}
	t.next++
	t.entries++
	w.parent.children[w.name] = n
	w.parent.modified, w.parent.changed = now, now
	return n, ESUCCESS
}

// remove takes an entry out; its space is given back once nothing has it open.
func (t *tree) remove(n *node, now uint64) {
	delete(n.parent.children, n.name)
	n.parent.modified, n.parent.changed = now, now
	n.parent = nil
	t.entries--
	t.charge(-entryCost - int64(len(n.name)))
	t.release(n)
}

// release gives a removed and closed file's space back.
func (t *tree) release(n *node) {
	if n.parent == nil && n != t.root && n.opens == 0 && !n.dir {
		t.truncate(n, 0)
	}
}

// rename moves what is at from to the place to.
func (t *tree) rename(from, to where, now uint64) Errno {
	n := from.node
	if n == nil {
		return ENOENT
	}
	if from.name == "" || to.name == "" {
		return EINVAL
	}
	if to.node == n {
		return ESUCCESS
	}
	if to.slash && !n.dir {
		return ENOTDIR
	}
	for p := to.parent; p != nil; p = p.parent {
		if p == n {
			return EINVAL // into itself
		}
	}
	if to.parent.parent == nil && to.parent != t.root {
		return ENOENT
	}
	if n.dir {
		t.work(stepFuel * uint64(t.entries))
	}
	if to.parent.depth()+n.height() > maxDepth+1 {
		return ENOSPC
	}
	if e := t.replace(n, to.node, now); e != ESUCCESS {
		return e
	}
	if !t.charge(int64(len(to.name) - len(n.name))) {
		return ENOSPC
	}
	delete(n.parent.children, n.name)
	n.parent.modified, n.parent.changed = now, now
	n.parent, n.name, n.changed = to.parent, to.name, now
	to.parent.children[n.name] = n
	to.parent.modified, to.parent.changed = now, now
	return ESUCCESS
}

// replace removes what a rename of n would cover, if that is allowed.
func (t *tree) replace(n, old *node, now uint64) Errno {
	switch {
	case old == nil:
		return ESUCCESS
	case old.dir && !n.dir:
		return EISDIR
	case !old.dir && n.dir:
		return ENOTDIR
	case len(old.children) > 0:
		return ENOTEMPTY
	}
	t.remove(old, now)
	return ESUCCESS
}

// truncate sets a file's length.
func (t *tree) truncate(n *node, size uint64) Errno {
	if size > maxFileSize {
		return EFBIG
	}
	want := int((size + chunkSize - 1) / chunkSize)
	t.work(stepFuel * uint64(max(want, len(n.chunks))))
	if want > len(n.chunks) {
		if e := t.extend(n, want); e != ESUCCESS {
			return e
		}
	}
	back := int64(0)
	for i := want; i < len(n.chunks); i++ {
		back += chunkCost - chunkSize
		if n.chunks[i] != nil {
			back += chunkSize
		}
	}
	clear(n.chunks[want:])
	n.chunks = n.chunks[:want]
	t.charge(-back)
	if rest := size % chunkSize; size < n.size && rest != 0 && n.chunks[want-1] != nil {
		clear(n.chunks[want-1][rest:]) // a later extension has to read zeros
	}
	n.size = size
	return ESUCCESS
}

// extend lengthens the list of chunks, without filling the new ones.
func (t *tree) extend(n *node, want int) Errno {
	if !t.charge(int64(want-len(n.chunks)) * (chunkCost - chunkSize)) {
		return ENOSPC
	}
	n.chunks = append(n.chunks, make([][]byte, want-len(n.chunks))...)
	return ESUCCESS
}

// write puts b at an offset and gives how much of it fitted.
func (t *tree) write(n *node, b []byte, at uint64) (int, Errno) {
	if at > maxFileSize || at+uint64(len(b)) > maxFileSize {
		return 0, EFBIG
	}
	done := 0
	for done < len(b) {
		pos := at + uint64(done)
		i, off := int(pos/chunkSize), int(pos%chunkSize)
		if i >= len(n.chunks) {
			if e := t.extend(n, i+1); e != ESUCCESS {
				return done, e
			}
		}
		if n.chunks[i] == nil {
			if !t.charge(chunkSize) {
				return done, ENOSPC
			}
			n.chunks[i] = make([]byte, chunkSize)
		}
		done += copy(n.chunks[i][off:], b[done:])
		n.size = max(n.size, at+uint64(done))
	}
	return done, ESUCCESS
}

// read fills b from an offset and gives how much there was.
func (n *node) read(b []byte, at uint64) int {
	if at >= n.size {
		return 0
	}
	b = b[:min(uint64(len(b)), n.size-at)]
	for done := 0; done < len(b); {
		pos := at + uint64(done)
		i, off := int(pos/chunkSize), int(pos%chunkSize)
		part := b[done:min(len(b), done+chunkSize-off)]
		if c := n.chunks[i]; c != nil {
			copy(part, c[off:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(b)
}
