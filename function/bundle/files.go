package bundle

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"io"
	"path"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// NativeEntries is the most entries of a native function's package, which may
// hold thousands of small modules.
const NativeEntries = 16384

// Archive is the package of a native function: a zip whose names, sizes and
// layout were checked. What its entries hold is looked at by Verify.
type Archive struct {
	b       []byte
	entries []entry
}

// OpenArchive checks a zip of a native function's files by the same rules as
// Open; only that names which differ by case alone are two names, as the
// files go onto a file system for which they are.
//
// Errors as of Open.
func OpenArchive(upload []byte, limits Limits) (*Archive, error) {
	if limits.Entries <= 0 {
		limits.Entries = NativeEntries
	}
	l := limits.orDefault()
	l.exact = true
	switch {
	case len(upload) == 0:
		return nil, noFiles("The uploaded package is empty.")
	case int64(len(upload)) > l.Packed:
		return nil, overPacked(upload, l)
	case !bytes.HasPrefix(upload, zipMagic):
		return nil, noFiles("Could not unzip uploaded file: it is no zip archive.")
	}
	entries, err := readEntries(upload, l)
	if err == nil {
		err = checkTree(entries)
	}
	var f *fault.Error
	if errors.As(err, &f) && f.Remedy != "" {
		g := *f
		g.Remedy = filesRemedy
		err = &g
	}
	if err != nil {
		return nil, err
	}
	return &Archive{upload, entries}, nil
}

const filesRemedy = "Upload a zip of the function's files."

func noFiles(text string) error {
	return fault.New(op, fault.Invalid, "%s", text).WithCode("InvalidParameterValueException").WithRemedy(filesRemedy)
}

// checkTree refuses a name that is a file and a folder.
func checkTree(entries []entry) error {
	files := make(map[string]struct{}, len(entries))
	for i := range entries {
		if name := entries[i].name; !strings.HasSuffix(name, "/") {
			files[name] = struct{}{}
		}
	}
	for i := range entries {
		for dir := path.Dir(strings.TrimSuffix(entries[i].name, "/")); dir != "."; dir = path.Dir(dir) {
			if _, found := files[dir]; found {
				return invalid("%q in the archive is a file and a folder.", dir)
			}
		}
		if name, folder := strings.CutSuffix(entries[i].name, "/"); folder {
			if _, found := files[name]; found {
				return invalid("%q in the archive is a file and a folder.", name)
			}
		}
	}
	return nil
}

// Has tells whether there is a file of this name.
func (a *Archive) Has(name string) bool { return a.find(name) != nil }

func (a *Archive) find(name string) *entry {
	for i := range a.entries {
		if a.entries[i].name == name {
			return &a.entries[i]
		}
	}
	return nil
}

// Head gives the beginning of a file, n bytes at most; nil if there is none.
func (a *Archive) Head(name string, n int) ([]byte, error) {
	e := a.find(name)
	if e == nil {
		return nil, nil
	}
	head, err := io.ReadAll(io.LimitReader(a.open(e), int64(n)))
	if err != nil {
		return nil, damaged(e)
	}
	return head, nil
}

// open reads the content of an entry, unchecked.
func (a *Archive) open(e *entry) io.Reader {
	packed := bytes.NewReader(a.b[e.data : e.data+e.packed])
	if e.method == methodDeflate {
		return flate.NewReader(packed)
	}
	return packed
}

// Verify reads all entries and holds their content against the sizes and
// checksums that the archive tells. It keeps none of it.
//
// Error: fault.Invalid.
func (a *Archive) Verify() error {
	for i := range a.entries {
		e := &a.entries[i]
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, io.LimitReader(a.open(e), e.unpacked+1))
		if err != nil || n != e.unpacked {
			return damaged(e)
		}
		if sum.Sum32() != e.crc {
			return broken("the checksum of %q is wrong", e.name)
		}
	}
	return nil
}

func damaged(e *entry) error {
	return broken("the content of %q is damaged or not of the declared size", e.name)
}
