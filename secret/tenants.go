package secret

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// What the folder of tenants' keys holds: a file UID.key for each tenant, and
// UID.destroyed for each whose key was destroyed, so that it is never made
// again and its absence is known to be meant.
const (
	keySuffix       = ".key"
	destroyedSuffix = ".destroyed"
	keyTitle        = "carrel tenant key 1\n"
)

// CreateTenant makes a tenant's key and returns when it is on disk. A tenant
// that has one, or had one, gets a Conflict.
func (k *Keeper) CreateTenant(uid tenant.UID) error {
	const op = "secret.CreateTenant"
	if _, err := tenant.ParseUID(string(uid)); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the tenant's internal id is malformed.")
	}
	k.fileMu.Lock()
	defer k.fileMu.Unlock()
	if _, err := k.keys.Lstat(string(uid) + destroyedSuffix); !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(op, fault.Conflict, ErrDestroyed, "the key of tenant %s was destroyed; it is never made again.", uid)
	}
	wrapped, err := k.wrap.seal(uid, newKey())
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot wrap the key of tenant %s.", uid)
	}
	text := fmt.Appendf(nil, "%s%s\n", keyTitle, base64.StdEncoding.EncodeToString(wrapped))
	err = writeNew(k.keys, string(uid)+keySuffix, text)
	if errors.Is(err, fs.ErrExist) {
		return fault.Wrap(op, fault.Conflict, err, "tenant %s has a key already.", uid)
	}
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot store the key of tenant %s.", uid)
	}
	return nil
}

// HasTenant tells whether a tenant has a key that was not destroyed.
func (k *Keeper) HasTenant(uid tenant.UID) bool {
	_, err := k.account("secret.HasTenant", uid)
	return err == nil && uid != Node
}

// DestroyTenant destroys a tenant's key, and with it everything that was
// sealed under it, wherever copies of it lie. It returns when that is on disk;
// nothing can undo it. Destroying a destroyed key is no error.
//
// The file is overwritten first, though a disk may keep what it held; copies
// of the folder that somebody made outlive it too.
func (k *Keeper) DestroyTenant(uid tenant.UID) error {
	const op = "secret.DestroyTenant"
	if _, err := tenant.ParseUID(string(uid)); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the tenant's internal id is malformed.")
	}
	k.fileMu.Lock()
	defer k.fileMu.Unlock()
	s := k.shard(uid)
	s.mu.Lock() // so that nobody reads the file between, and keeps what it read
	defer s.mu.Unlock()
	name, tombstone := string(uid)+keySuffix, string(uid)+destroyedSuffix
	_, gone := k.keys.Lstat(tombstone)
	info, err := k.keys.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && gone != nil {
		return fault.Wrap(op, fault.NotFound, err, "tenant %s has no key.", uid)
	}
	if gone != nil { // the tombstone is first: a crash after it is finished by the next call
		if err := writeNew(k.keys, tombstone, nil); err != nil {
			return fault.Wrap(op, fault.Internal, err, "cannot destroy the key of tenant %s.", uid)
		}
	}
	delete(s.accounts, uid)
	if info == nil {
		return nil
	}
	if err := errors.Join(overwrite(k.keys, name, info.Size()), k.keys.Remove(name), syncFolder(k.keys)); err != nil {
		return fault.Wrap(op, fault.Internal, err, "cannot destroy the key of tenant %s.", uid)
	}
	return nil
}

// readKey reads and unwraps a tenant's key.
func (k *Keeper) readKey(op string, uid tenant.UID) (*key, error) {
	if _, err := k.keys.Lstat(string(uid) + destroyedSuffix); !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(op, fault.NotFound, ErrDestroyed, "the key of tenant %s was destroyed.", uid)
	}
	text, err := readSmall(k.keys, string(uid)+keySuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(op, fault.NotFound, err, "tenant %s has no key.", uid)
	}
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot read the key of tenant %s.", uid)
	}
	body, ok := bytes.CutPrefix(text, []byte(keyTitle))
	wrapped, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(body, []byte("\n"))))
	if !ok || err != nil {
		return nil, fault.Wrap(op, fault.Internal, ErrAltered, "the file with the key of tenant %s is damaged.", uid).
			WithRemedy("Restore it from your copy.")
	}
	kek, err := k.wrap.open(uid, wrapped)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "the key of tenant %s is damaged or belongs to another tenant or root key.", uid).
			WithRemedy("Restore it from your copy.")
	}
	return kek, nil
}

// writeNew writes a file that must not exist, and returns when it is on disk.
// It appears whole or not at all.
func writeNew(dir *os.Root, name string, text []byte) error {
	if _, err := dir.Lstat(name); err == nil {
		return fs.ErrExist
	}
	temporary := name + ".new-" + rand.Text()
	f, err := dir.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = dir.Link(temporary, name) // unlike a rename it replaces nothing
	}
	return errors.Join(err, dir.Remove(temporary), syncFolder(dir))
}

func overwrite(dir *os.Root, name string, size int64) error {
	f, err := dir.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	noise := make([]byte, min(size, maxKeyFile))
	rand.Read(noise)
	_, err = f.Write(noise)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func readSmall(dir *os.Root, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}
