package secret

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// RootKey wraps the tenants' keys. Who has it and a copy of the data and of
// the folder of keys can read everything.
type RootKey struct {
	redacted
	secret *key
}

// rootTitle is the first line of a root key's file; the key and a checksum
// against slips of typing follow, a line each.
const rootTitle = "carrel root key 1"

// maxKeyFile bounds what is read of a file with a key, in bytes.
const maxKeyFile = 4096

// LoadRootKey reads the root key's file. It is refused if others than its
// owner may read it. Call it before the process gives up its privileges.
func LoadRootKey(path string) (*RootKey, error) {
	const op = "secret.LoadRootKey"
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(op, fault.NotFound, err, "there is no root key at %s.", path)
	}
	if err != nil {
		return nil, fault.Wrap(op, fault.Denied, err, "cannot read the root key at %s.", path)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot read the root key at %s.", path)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(op, fault.Denied, "the root key at %s may be read by others (mode %04o).", path, info.Mode().Perm()).
			WithRemedy("Run chmod 600 on it; if others had access to it, make a new installation.")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot read the root key at %s.", path)
	}
	k, err := parseRootKey(text)
	clear(text)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the file %s is not a root key.", path).
			WithRemedy("Restore it from your copy.")
	}
	return &RootKey{secret: k}, nil
}

// OpenRootKey is LoadRootKey that makes a new root key where there is no file
// and the folder of tenants' keys is empty too: on the very first start. Then
// created is true, and the caller has to tell the operator to keep a copy.
func OpenRootKey(path string, tenantKeys *os.Root) (root *RootKey, created bool, err error) {
	const op = "secret.OpenRootKey"
	root, err = LoadRootKey(path)
	if !fault.Is(err, fault.NotFound) {
		return root, false, err
	}
	entries, err := fs.ReadDir(tenantKeys.FS(), ".")
	if err != nil {
		return nil, false, fault.Wrap(op, fault.Internal, err, "cannot read the folder of tenants' keys.")
	}
	if len(entries) > 0 {
		return nil, false, fault.New(op, fault.NotFound, "there is no root key at %s, but there are tenants' keys, which only it can unwrap.", path).
			WithRemedy("Restore the file from your copy, or name it with --root-key.")
	}
	root, err = CreateRootKey(path)
	return root, err == nil, err
}

// CreateRootKey makes a new root key and writes it to a file, which must not
// exist, for its owner alone to read. The caller warns the operator: without
// a copy of this file the data cannot be read anywhere else, nor after its loss.
func CreateRootKey(path string) (*RootKey, error) {
	const op = "secret.CreateRootKey"
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot make the root key at %s.", path)
	}
	defer dir.Close()
	k := newKey()
	text := formatRootKey(k)
	defer clear(text)
	err = writeNew(dir, filepath.Base(path), text)
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(op, fault.Conflict, err, "there is a root key at %s already.", path)
	}
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot make the root key at %s.", path)
	}
	return &RootKey{secret: k}, nil
}

func formatRootKey(k *key) []byte {
	sum := sha256.Sum256(k.bytes[:])
	return fmt.Appendf(nil, "%s\n%s\n%x\n", rootTitle, base64.StdEncoding.EncodeToString(k.bytes[:]), checksum(sum))
}

// checksum is short, so that it finds slips and tells nothing about the key.
func checksum(sum [sha256.Size]byte) []byte { return sum[:2] }

func parseRootKey(text []byte) (*key, error) {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) != 3 || lines[0] != rootTitle {
		return nil, fmt.Errorf("need 3 lines, the first one %q", rootTitle)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(lines[1])
	if err != nil || len(b) != keySize {
		return nil, fmt.Errorf("the key is not %d bytes in base64", keySize)
	}
	k := &key{bytes: (*[keySize]byte)(b)}
	if sum := sha256.Sum256(k.bytes[:]); lines[2] != fmt.Sprintf("%x", checksum(sum)) {
		return nil, errors.New("its checksum is wrong")
	}
	return k, nil
}

// checkFile tells, in the folder of tenants' keys, which root key is theirs.
const checkFile = "root.check"

// checkRoot compares the root key with the folder's check value, and writes
// that into an empty folder.
func checkRoot(root *key, keys *os.Root) error {
	const op = "secret.Open"
	info, err := keys.Stat(".")
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot read the folder of tenants' keys.")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.New(op, fault.Denied, "the folder of tenants' keys is open to others (mode %04o).", info.Mode().Perm()).
			WithRemedy("Run chmod 700 on %s.", keys.Name())
	}
	sum := newMAC(root.derive("check")).Sum([]byte("carrel root check"))
	want := fmt.Appendf(nil, "carrel root check 1\n%x\n", sum[:16])
	got, err := readSmall(keys, checkFile)
	if errors.Is(err, fs.ErrNotExist) {
		return startFolder(keys, want)
	}
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot read the folder of tenants' keys.")
	}
	if !hmac.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
		return fault.New(op, fault.Denied, "this root key is not the one that wrapped the tenants' keys.").
			WithRemedy("Name the right file with --root-key, or restore it from your copy.")
	}
	return nil
}

func startFolder(keys *os.Root, check []byte) error {
	const op = "secret.Open"
	entries, err := fs.ReadDir(keys.FS(), ".")
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot read the folder of tenants' keys.")
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), keySuffix) {
			return fault.New(op, fault.Denied, "the folder of tenants' keys has keys but no file %s.", checkFile).
				WithRemedy("Restore the folder from your copy.")
		}
	}
	if err := writeNew(keys, checkFile, check); err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot write to the folder of tenants' keys.")
	}
	return nil
}
