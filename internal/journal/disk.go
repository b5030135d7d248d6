package journal

import (
	"errors"
	"io"
	"syscall"
)

// disk is the folder of a journal, as far as a journal needs one. Tests put
// one in its place that fails and forgets as real ones do.
type disk interface {
	// Create makes a file that is not there yet, for reading and writing.
	Create(name string) (file, error)
	// Open opens a file that is there, for reading and writing.
	Open(name string) (file, error)
	// Remove deletes a file and makes its absence durable.
	Remove(name string) error
	folder
}

type folder interface {
	// List gives the names and sizes of the regular files, in any order.
	List() ([]entry, error)
	// Sync makes the making of files durable.
	Sync() error
	// Free gives how many bytes can still be written.
	Free() (uint64, error)
	// Close gives the folder free for another process.
	Close() error
}

type entry struct {
	name string
	size int64
}

// file is an open segment.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate cuts the file to this size.
	Truncate(size int64) error
	// Sync makes content and size durable.
	Sync() error
}

// isFull tells whether a write failed for want of space only.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
