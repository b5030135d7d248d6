//go:build linux

package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/secret"
)

// folders are the node's places on the disk, opened while it may still reach
// them: afterwards it is a user that may not even walk to them.
type folders struct {
	data, keys, journal, logs, blobs *os.Root
	busPath                          string
	operatorFile                     string
	nodeName                         string
	root                             *secret.RootKey
	rootCreated                      bool
	rootPath                         string
	// ended is the asynchronous calls whose end is on the journal.
	ended map[string]invokeEnd
}

type invokeEnd = struct {
	Attempt int
	Result  call.Result
}

func (n *Node) openFolders(context.Context) error {
	dir, err := filepath.Abs(n.cfg.DataDir)
	if err != nil {
		return err
	}
	f := &folders{operatorFile: filepath.Join(dir, config.OperatorFile)}
	n.folders = f
	n.after(f.close)
	abs := n.cfg
	abs.DataDir = dir
	rootPath, keysPath := abs.KeyPaths()
	if f.rootPath, err = filepath.Abs(rootPath); err != nil {
		return err
	}
	if strings.HasPrefix(f.rootPath, dir+string(filepath.Separator)) {
		return fmt.Errorf("the root key %s must not lie in the data folder: a copy of the folder would hold the key to it; move it and name it with --root-key", f.rootPath)
	}
	for _, open := range []struct {
		path string
		root **os.Root
	}{
		{dir, &f.data}, {keysPath, &f.keys}, {filepath.Join(dir, "journal"), &f.journal},
		{filepath.Join(dir, "logs"), &f.logs}, {filepath.Join(dir, "blobs"), &f.blobs},
	} {
		if err := os.MkdirAll(open.path, 0o700); err != nil {
			return err
		}
		if *open.root, err = os.OpenRoot(open.path); err != nil {
			return err
		}
	}
	f.busPath = filepath.Join(dir, "nats")
	if err := os.MkdirAll(f.busPath, 0o700); err != nil {
		return err
	}
	if f.nodeName, err = nodeName(f.data); err != nil {
		return err
	}
	f.root, f.rootCreated, err = secret.OpenRootKey(f.rootPath, f.keys)
	return err
}

func (f *folders) close() error {
	var errs []error
	for _, r := range []*os.Root{f.data, f.keys, f.journal, f.logs, f.blobs} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// nodeName gives the name of this node, made on its first start: records,
// cgroups and cursors carry it.
func nodeName(data *os.Root) (string, error) {
	const file = "node"
	text, err := data.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var b [6]byte
	rand.Read(b[:]) // never fails
	name := "n" + hex.EncodeToString(b[:])
	return name, data.WriteFile(file, []byte(name+"\n"), 0o600)
}

// preferNode has the kernel let the node in soon when it wakes: its own work
// is short, and whoever computes must not make others wait for it.
func (n *Node) preferNode() {
	if os.Getuid() == 0 {
		if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_SETPRIORITY, syscall.PRIO_PROCESS, 0, nodePriority); errno != 0 {
			n.log.Warn("the node could not raise its priority: functions that compute may delay it", "error", errno)
		}
	}
}

// dropPrivileges makes a node that was started as root an ordinary user, who
// owns the data and nothing else. The spawner stays what it is.
func (n *Node) dropPrivileges(context.Context) error {
	n.preferNode()
	// The spawner is there; nothing that the node may be tricked to start gets
	// more rights than it has, and what it makes is for no other user.
	syscall.Umask(0o077)
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return fmt.Errorf("no_new_privs: %w", errno)
	}
	if os.Getuid() != 0 || !n.cfg.DropRoot {
		return nil
	}
	id := n.cfg.UserID
	for _, r := range []*os.Root{n.folders.data, n.folders.keys} {
		if err := own(r, id); err != nil {
			return err
		}
	}
	// The message store walks to its folder by path, so it gets one that
	// needs no folder above it.
	if err := n.folders.data.Chmod(".", 0o700); err != nil {
		return err
	}
	if err := os.Chdir(filepath.Dir(n.folders.busPath)); err != nil {
		return err
	}
	n.folders.busPath = filepath.Base(n.folders.busPath)
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(id); err != nil {
		return err
	}
	if err := syscall.Setuid(id); err != nil {
		return err
	}
	n.log.Info("the node gave up root", "uid", id)
	return nil
}

// nodePriority is the node's nice value, -10. Workers keep 0.
const nodePriority = ^uintptr(9)

// own makes a folder and all in it the node's. All is looked at each time: a
// start with --drop-root=false leaves files of root's anywhere below.
//
// The folder belongs to a user who may have been taken over, so nothing in it
// may lead root to a file elsewhere: links are not followed, and a file that
// has another name too is refused.
func own(r *os.Root, id int) error {
	return fs.WalkDir(r.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := r.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case ok && int(st.Uid) == id && int(st.Gid) == id:
			return nil
		case ok && info.Mode().IsRegular() && st.Nlink > 1:
			return fmt.Errorf("%s in the data folder has a second name (hard link) and belongs to user %d: it is not given to the node's user; delete it, or copy it to a file of its own", path, st.Uid)
		}
		return r.Lchown(path, id, id)
	})
}

func (n *Node) openKeys(context.Context) (err error) {
	if n.folders.rootCreated {
		n.log.Warn("a new root key was made; keep a copy of it apart from the data: without it the data cannot be read",
			"file", n.folders.rootPath)
	}
	n.keys, err = secret.Open(secret.Config{Root: n.folders.root, Keys: n.folders.keys})
	return err
}

// workerBinary finds carrel-worker: named by the settings, or beside carrel.
func workerBinary(named string) (string, error) {
	path := named
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "carrel-worker")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("carrel-worker is not at %s: install it beside carrel, or name it with --worker-binary (%w)", path, err)
	}
	return filepath.Abs(path)
}

// writeOperatorFile leaves the operator's credentials where the client
// commands and a shell find them.
func (n *Node) writeOperatorFile(context.Context) error {
	c := n.control.FirstAdmin()
	text := fmt.Sprintf("AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nAWS_REGION=%s\nAWS_DEFAULT_REGION=%s\nAWS_ENDPOINT_URL=%s\n",
		c.AccessKeyID, c.SecretAccessKey, n.cfg.Region, n.cfg.Region, n.Endpoint())
	const fresh = config.OperatorFile + ".new"
	if err := n.folders.data.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return err
	}
	return n.folders.data.Rename(fresh, config.OperatorFile)
}
