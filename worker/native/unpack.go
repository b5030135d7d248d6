package native

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The bounds of a package once more: package function/bundle holds it to them
// when it is deployed, and a sandbox trusts nobody with its own memory.
const (
	maxUnpacked = 262_144_000
	maxEntries  = 16384
)

// unpack writes a package's files below root. Whoever may read a file there
// may do so here, and the bootstrap can be executed whatever tool made the
// archive; apart from that modes are kept.
func unpack(archive []byte, root string) error {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	if len(r.File) > maxEntries {
		return fmt.Errorf("it has more than %d entries", maxEntries)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	below, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer below.Close()
	left := int64(maxUnpacked)
	for _, f := range r.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%q is not below the package", f.Name)
		}
		n, err := unpackEntry(below, f, left)
		if err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
		left -= n
	}
	return nil
}

func unpackEntry(root *os.Root, f *zip.File, left int64) (int64, error) {
	mode := f.Mode()
	switch {
	case mode.IsDir():
		return 0, root.MkdirAll(filepath.Clean(f.Name), 0o755)
	case mode&fs.ModeType != 0:
		return 0, fmt.Errorf("it is no plain file")
	}
	if dir := filepath.Dir(f.Name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
	}
	perm := mode.Perm() | 0o444
	if f.Name == "bootstrap" {
		perm |= 0o111
	}
	content, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer content.Close()
	to, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(to, io.LimitReader(content, left+1))
	if err == nil && n > left {
		err = fmt.Errorf("the package is over its bound of %d bytes", maxUnpacked)
	}
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	return n, err
}
