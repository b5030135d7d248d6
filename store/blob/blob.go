// Package blob keeps what is too big for a record, such as code and images, as
// sealed files named after their content.
//
// A file's name is made of its owner's internal id, its kind, and a code of the
// content's digest under the owner's key. So names tell nothing about the
// content, two tenants with the same content have two files, and nobody can
// find out whether another tenant has something. A file appears whole or not
// at all, and what Put acknowledged is on disk.
//
// If a file is damaged, exchanged or lost, reading it is an error and nothing
// else is touched: the tenant uploads it again, or what was made from code is
// made again.
package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// MaxSize bounds a blob's content, in bytes.
const MaxSize = 300 << 20

// version is the first byte of a file; the sealed stream follows.
const version = 1

// incoming is the folder of what is being written. Nothing in it survives a
// start.
const incoming = "incoming"

// Digest is the SHA-256 of a blob's content.
type Digest [sha256.Size]byte

// String gives the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String gave.
func ParseDigest(s string) (Digest, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != s {
		return Digest{}, fault.New("blob.ParseDigest", fault.Invalid, "a digest has %d hex digits, a-f in lower case.", 2*sha256.Size)
	}
	return Digest(b), nil
}

// MarshalText gives the digest in hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText gave.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// Ref names a blob.
type Ref struct {
	Owner  tenant.UID
	Kind   secret.Kind
	Digest Digest
}

// Keys is what the store needs of *secret.Keeper.
type Keys interface {
	SealStream(l secret.Label, w io.Writer) (io.WriteCloser, error)
	OpenStream(l secret.Label, r io.Reader) (io.Reader, error)
	Hide(owner tenant.UID, kind secret.Kind, text string) (string, error)
}

// Store keeps blobs below a folder that no other process uses. It is safe for
// concurrent use.
type Store struct {
	root *os.Root
	keys Keys
	most int64
	mu   sync.Mutex // held while a file appears, and while Reap looks and removes
}

// Open gives the store of a folder, and removes what an earlier process did
// not finish.
func Open(root *os.Root, keys Keys) (*Store, error) {
	const op = "blob.Open"
	if err := errors.Join(root.RemoveAll(incoming), root.Mkdir(incoming, 0o700)); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot prepare the folder of blobs.")
	}
	return &Store{root: root, keys: keys, most: MaxSize}, nil
}

// label is what a blob is bound to. The digest is not in it, as it is known
// only after the last byte; Get compares it.
func label(owner tenant.UID, kind secret.Kind) secret.Label {
	return secret.Label{Owner: owner, Kind: kind, ID: "blob"}
}

// place gives a blob's folder and file.
func (s *Store) place(ref Ref) (dir, file string, err error) {
	name, err := s.keys.Hide(ref.Owner, ref.Kind, ref.Digest.String())
	if err != nil {
		return "", "", err
	}
	dir = path.Join(string(ref.Owner), string(ref.Kind))
	return dir, path.Join(dir, name), nil
}

// Put stores content and returns when it is on disk. Storing the same again is
// no error, and repairs a damaged file. After an error nothing is left.
func (s *Store) Put(ctx context.Context, owner tenant.UID, kind secret.Kind, content io.Reader) (Digest, error) {
	const op = "blob.Put"
	temporary := path.Join(incoming, rand.Text())
	f, err := s.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Digest{}, writeError(op, err)
	}
	digest, err := s.write(ctx, f, sealing{label(owner, kind), content})
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.appear(temporary, Ref{owner, kind, digest})
	}
	if err != nil {
		err = writeError(op, err)
		if removeErr := s.root.Remove(temporary); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return Digest{}, err
	}
	return digest, nil
}

// sealing is what is written under which label.
type sealing struct {
	label   secret.Label
	content io.Reader
}

func (s *Store) write(ctx context.Context, f *os.File, in sealing) (Digest, error) {
	const op = "blob.Put"
	if _, err := f.Write([]byte{version}); err != nil {
		return Digest{}, err
	}
	w, err := s.keys.SealStream(in.label, f)
	if err != nil {
		return Digest{}, err
	}
	sum := sha256.New()
	source := &contextReader{ctx, in.content}
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(source, s.most+1))
	if err != nil {
		return Digest{}, err
	}
	if n > s.most {
		return Digest{}, fault.New(op, fault.TooLarge, "more than %d bytes cannot be stored in one piece.", s.most)
	}
	if err := errors.Join(w.Close(), f.Sync()); err != nil {
		return Digest{}, err
	}
	return Digest(sum.Sum(nil)), nil
}

// appear moves a finished file to its place, and makes sure that it stays
// there.
func (s *Store) appear(temporary string, ref Ref) error {
	dir, file, err := s.place(ref)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := s.root.Rename(temporary, file); err != nil {
		return err
	}
	return errors.Join(s.sync(dir), s.sync(path.Dir(dir)), s.sync("."))
}

func (s *Store) sync(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeError gives an error of the disk a kind; one that has a meaning keeps it.
func writeError(op string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(op, fault.Timeout, err, "the time for it was over.")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fault.Wrap(op, fault.Unavailable, err, "the disk of the data folder is full.").
			WithRemedy("The operator has to make room.")
	default:
		return fault.Wrap(op, fault.Internal, err, "cannot store a blob.")
	}
}

// Get gives a blob's content, of which seal and digest were verified.
func (s *Store) Get(ctx context.Context, ref Ref) ([]byte, error) {
	const op = "blob.Get"
	f, size, err := s.open(op, ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [1]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil, fault.Wrap(op, fault.Internal, errors.Join(err, secret.ErrAltered), "a stored %s is damaged.", ref.Kind)
	}
	if head[0] != version {
		return nil, fault.Wrap(op, fault.Unsupported, secret.ErrAltered, "a stored %s was written by a newer version.", ref.Kind).
			WithRemedy("Run that version.")
	}
	r, err := s.keys.OpenStream(label(ref.Owner, ref.Kind), &contextReader{ctx, f})
	if err != nil {
		return nil, err
	}
	content := bytes.NewBuffer(make([]byte, 0, min(size, s.most)+bytes.MinRead))
	if _, err := content.ReadFrom(io.LimitReader(r, s.most+1)); err != nil {
		return nil, err
	}
	if sha256.Sum256(content.Bytes()) != ref.Digest {
		return nil, fault.Wrap(op, fault.Internal, secret.ErrAltered, "a stored %s is another one than was asked for.", ref.Kind)
	}
	return content.Bytes(), nil
}

func (s *Store) open(op string, ref Ref) (*os.File, int64, error) {
	_, file, err := s.place(ref)
	if err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fault.Wrap(op, fault.NotFound, err, "no %s with this digest is stored.", ref.Kind)
	}
	if err != nil {
		return nil, 0, fault.Wrap(op, fault.Internal, err, "cannot read a stored %s.", ref.Kind)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, fault.Wrap(op, fault.Internal, err, "cannot read a stored %s.", ref.Kind)
	}
	return f, info.Size(), nil
}

// Delete removes a blob. That it is not there is a NotFound.
func (s *Store) Delete(ctx context.Context, ref Ref) error {
	const op = "blob.Delete"
	if ctx.Err() != nil {
		return fault.Wrap(op, fault.Timeout, context.Cause(ctx), "the time for it was over.")
	}
	dir, file, err := s.place(ref)
	if err != nil {
		return err
	}
	err = s.root.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(op, fault.NotFound, err, "no %s with this digest is stored.", ref.Kind)
	}
	if err = errors.Join(err, s.sync(dir)); err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot remove a stored %s.", ref.Kind)
	}
	return nil
}

// Reap removes the blobs that are not among the known ones and were stored
// longer ago than age, and gives their number. age has to be longer than it
// takes from Put to the record that makes the blob known. A tenant whose key
// was destroyed has no known blobs.
func (s *Store) Reap(ctx context.Context, known iter.Seq[Ref], age time.Duration) (int, error) {
	const op = "blob.Reap"
	keep := map[string]bool{}
	for ref := range known {
		_, file, err := s.place(ref)
		if errors.Is(err, secret.ErrDestroyed) {
			continue
		}
		if err != nil {
			return 0, err // to remove what is only not known for now would be worse
		}
		keep[file] = true
	}
	removed, limit := 0, time.Now().Add(-age)
	err := fs.WalkDir(s.root.FS(), ".", func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if d.IsDir() && file == incoming {
			return fs.SkipDir
		}
		if d.IsDir() || keep[file] {
			return nil
		}
		gone, err := s.removeIfOlder(file, limit)
		if gone {
			removed++
		}
		return err
	})
	if err != nil {
		return removed, writeError(op, fmt.Errorf("reaping: %w", err))
	}
	return removed, nil
}

// removeIfOlder removes a file unless it was stored, perhaps again, after a
// moment.
func (s *Store) removeIfOlder(file string, limit time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.ModTime().After(limit) {
		return false, nil
	}
	if err == nil {
		err = s.root.Remove(file)
	}
	return err == nil, err
}

// contextReader reads until ctx ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads from below.
func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
