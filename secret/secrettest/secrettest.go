// Package secrettest opens keys for tests of what is sealed with them.
package secrettest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/carrel-dev/carrel/secret"
)

// Keeper opens a keeper with a root key of its own and no tenants, in folders
// that go with the test.
func Keeper(t testing.TB) *secret.Keeper {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	root, err := secret.CreateRootKey(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := secret.Open(secret.Config{Root: root, Keys: folder})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
