//go:build linux

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

var errCrashed = errors.New("the process is dead")

// crashDisk is a folder in memory that can die at any operation and then
// come back as a killed process or a power cut would leave it. What was not
// synced it keeps, loses or tears sector by sector, as its random source says.
type crashDisk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	files   map[string]*crashFile
	durable map[string]*crashFile // the directory as it was last synced
	fuse    int                   // operations until death; negative: none
	dead    bool
	space   int64 // bytes that may still be written; negative: no bound
	free    uint64

	failSync, failTruncate, failCreate, failWrite error
	syncs                                         int
	held                                          chan struct{} // where not nil, Sync waits for it
}

type crashFile struct {
	disk   *crashDisk
	data   []byte
	synced []byte
}

const sector = 512

func newCrashDisk(rng *rand.Rand) *crashDisk {
	return &crashDisk{
		rng: rng, files: map[string]*crashFile{}, durable: map[string]*crashFile{},
		fuse: -1, space: -1, free: 1 << 40,
	}
}

// step burns the fuse; mu is held.
func (d *crashDisk) step() error {
	if d.fuse == 0 {
		d.dead = true
	}
	if d.dead {
		return errCrashed
	}
	if d.fuse > 0 {
		d.fuse--
	}
	return nil
}

// revive brings the disk back: after a kill with all that was written, after
// a power cut with what was synced and some of the rest.
func (d *crashDisk) revive(power bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.fuse, d.space = false, -1, -1
	d.failSync, d.failTruncate, d.failCreate, d.failWrite = nil, nil, nil, nil
	if !power {
		return
	}
	names := map[string]*crashFile{}
	for _, n := range slices.Sorted(maps.Keys(union(d.durable, d.files))) {
		// A change of the directory that was not synced may be lost.
		f := d.files[n]
		if d.rng.IntN(2) == 0 {
			f = d.durable[n]
		}
		if f != nil {
			f.data = d.tear(f)
			f.synced = bytes.Clone(f.data)
			names[n] = f
		}
	}
	d.files = names
	d.durable = maps.Clone(names)
}

func union(a, b map[string]*crashFile) map[string]*crashFile {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// tear mixes, sector by sector, what was synced with what was written since.
func (d *crashDisk) tear(f *crashFile) []byte {
	same := 0
	for same < min(len(f.data), len(f.synced)) && f.data[same] == f.synced[same] {
		same++
	}
	lo, hi := min(len(f.data), len(f.synced)), max(len(f.data), len(f.synced))
	out := make([]byte, lo+d.rng.IntN(hi-lo+1))
	copy(out, f.synced)
	for at := 0; at < len(out); at += sector {
		end := min(at+sector, len(out))
		switch d.rng.IntN(3) {
		case 0: // as it was synced: zeros beyond
		case 1:
			if at >= len(f.synced) {
				break // torn: this sector was never written, the next may be
			}
			fallthrough
		default:
			if at < len(f.data) {
				copy(out[at:end], f.data[at:min(end, len(f.data))])
			}
		}
	}
	copy(out[:min(same, len(out))], f.synced)
	return out
}

func (d *crashDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	if d.failCreate != nil {
		return nil, d.failCreate
	}
	if d.files[name] != nil {
		return nil, fs.ErrExist
	}
	f := &crashFile{disk: d}
	d.files[name] = f
	return f, nil
}

func (d *crashDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	if d.files[name] == nil {
		return nil, fs.ErrNotExist
	}
	return d.files[name], nil
}

func (d *crashDisk) Remove(name string) error {
	d.mu.Lock()
	if err := d.step(); err != nil {
		d.mu.Unlock()
		return err
	}
	if d.files[name] == nil {
		d.mu.Unlock()
		return fs.ErrNotExist
	}
	delete(d.files, name)
	d.mu.Unlock()
	return d.Sync()
}

func (d *crashDisk) List() ([]entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []entry
	for n, f := range d.files {
		out = append(out, entry{n, int64(len(f.data))})
	}
	return out, nil
}

func (d *crashDisk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.files)
	return nil
}

func (d *crashDisk) Free() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, nil
}

func (d *crashDisk) Close() error { return nil }

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.step()
	if err != nil {
		if d.fuse == 0 { // this very write is the one that death cuts short
			d.fuse = -1
			p = p[:d.rng.IntN(len(p)+1)]
		} else {
			return 0, err
		}
	}
	if d.failWrite != nil {
		return 0, d.failWrite
	}
	if d.space >= 0 && int64(len(p)) > d.space {
		p, err = p[:d.space], syscall.ENOSPC
	}
	if d.space >= 0 {
		d.space -= int64(len(p))
	}
	if grow := off + int64(len(p)) - int64(len(f.data)); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	copy(f.data[off:], p)
	return len(p), err
}

func (f *crashFile) Truncate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	if d.failTruncate != nil {
		return d.failTruncate
	}
	if size > int64(len(f.data)) {
		return fmt.Errorf("truncate to %d makes a file of %d longer", size, len(f.data))
	}
	f.data = f.data[:size:size]
	return nil
}

func (f *crashFile) Sync() error {
	d := f.disk
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil {
		<-held
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.syncs++
	if d.failSync != nil {
		return d.failSync
	}
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *crashFile) Close() error { return nil }

// clone copies the folder, as it is, without its history.
func (d *crashDisk) clone(rng *rand.Rand) *crashDisk {
	c := newCrashDisk(rng)
	for n, f := range d.files {
		c.put(n, f.data)
	}
	return c
}

func (d *crashDisk) put(name string, data []byte) {
	f := &crashFile{disk: d, data: bytes.Clone(data), synced: bytes.Clone(data)}
	d.files[name], d.durable[name] = f, f
}

// contents gives all files, to see whether anything changed.
func (d *crashDisk) contents() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := map[string]string{}
	for n, f := range d.files {
		m[n] = string(f.data)
	}
	return m
}
