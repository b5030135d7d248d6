package journal

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
)

// lockName is the file whose flock keeps a second process out.
const lockName = "lock"

// Open opens the journal in a folder that exists, making it if the folder
// has none, and begins a new boot. It checks every retained record, cuts off
// what a crash left half written (see Recovery) and refuses, with a
// *CorruptError, damage that no crash can explain. A folder that another
// process has open gives fault.Conflict. The root must stay open as long as
// the journal.
func Open(root *os.Root, cfg Config) (*Journal, error) {
	d, err := openRootDisk(root)
	if err != nil {
		return nil, err
	}
	j, err := open(d, cfg)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return j, nil
}

// rootDisk is a folder held by a handle, so that a node which gave up the
// right to walk there still reaches it.
type rootDisk struct {
	root *os.Root
	dir  *os.File
	lock *os.File
}

func openRootDisk(root *os.Root) (*rootDisk, error) {
	const op = "journal.Open"
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the lock file of the journal cannot be opened")
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.Wrap(op, fault.Conflict, err, "another process has this journal open.").
				WithRemedy("Stop it, or give this node its own data folder.")
		}
		return nil, fault.Wrap(op, fault.Unavailable, err, "the journal cannot be locked")
	}
	dir, err := root.Open(".")
	if err != nil {
		lock.Close()
		return nil, fault.Wrap(op, fault.Unavailable, err, "the folder of the journal cannot be opened")
	}
	return &rootDisk{root: root, dir: dir, lock: lock}, nil
}

func (d *rootDisk) Create(name string) (file, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return rootFile{f}, nil
}

func (d *rootDisk) Open(name string) (file, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return rootFile{f}, nil
}

func (d *rootDisk) Remove(name string) error {
	if err := d.root.Remove(name); err != nil {
		return err
	}
	return d.Sync()
}

func (d *rootDisk) List() ([]entry, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found, err := dir.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, e := range found {
		info, err := d.root.Lstat(e.Name())
		if err != nil {
			return nil, err
		}
		if _, ours := fileNumber(e.Name()); ours && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", e.Name())
		}
		if info.Mode().IsRegular() {
			entries = append(entries, entry{e.Name(), info.Size()})
		}
	}
	return entries, nil
}

func (d *rootDisk) Sync() error { return d.dir.Sync() }

func (d *rootDisk) Free() (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(d.dir.Fd()), &s); err != nil {
		return 0, err
	}
	if s.Bsize <= 0 || s.Bavail > math.MaxUint64/uint64(s.Bsize) {
		return 0, fmt.Errorf("statfs gives %d blocks of %d bytes", s.Bavail, s.Bsize)
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// Close gives up the lock with the file that holds it.
func (d *rootDisk) Close() error { return errors.Join(d.dir.Close(), d.lock.Close()) }

type rootFile struct{ *os.File }

// Sync is fdatasync: it writes the size, which reading back needs, and not
// the times, which nothing here needs.
func (f rootFile) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = unix.Fdatasync(int(fd)); failed != unix.EINTR {
				return
			}
		}
	})
	return errors.Join(err, failed)
}
