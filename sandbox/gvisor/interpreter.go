package gvisor

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A sandbox has nothing of the host's file system but what is shown to it.
// For an interpreter of the host that is its binary, its standard library,
// the loader that the kernel starts for it, and all shared libraries that
// these need: found by reading the files (ELF, System V gABI chapter 5) as
// ld.so(8) does, not by running them as ldd would.

// Node gives what a sandbox has to see of the host's Node.js.
//
// Errors: if the binary or a library of it cannot be read or found.
func Node(binary string) ([]Mount, error) { return shown([]string{binary}, nil) }

// Python gives what a sandbox has to see of a Python of the host: binary is
// the interpreter itself, with its version in its name, as
// /usr/bin/python3.11. Packages that were installed besides the standard
// library are not shown.
//
// Errors: if there is no standard library of that version beside it, or as
// for Node.
func Python(binary string) ([]Mount, error) {
	library := filepath.Join(filepath.Dir(filepath.Dir(binary)), "lib", filepath.Base(binary))
	if _, err := os.Stat(filepath.Join(library, "os.py")); err != nil {
		return nil, fmt.Errorf("gvisor: the standard library of %s: %w", binary, err)
	}
	modules, err := filepath.Glob(filepath.Join(library, "lib-dynload", "*.so"))
	if err != nil {
		return nil, err
	}
	return shown(append([]string{binary}, modules...), []string{library})
}

// Merge puts mounts together, leaving out what is there already.
func Merge(lists ...[]Mount) []Mount {
	var all []Mount
	for _, list := range lists {
		for _, m := range list {
			if !slices.ContainsFunc(all, func(have Mount) bool { return have.Target == m.Target }) {
				all = append(all, m)
			}
		}
	}
	return all
}

// loaderCache tells the loader inside where libraries are.
const loaderCache = "/etc/ld.so.cache"

// shown gives the mounts for ELF files, with all that they need, and folders.
// Files below one of the folders need no mount of their own.
func shown(files, folders []string) ([]Mount, error) {
	l := libraries{folders: loaderFolders(), needed: map[string]bool{}}
	for _, f := range files {
		if err := l.add(f); err != nil {
			return nil, err
		}
	}
	targets := slices.Clone(folders)
	for f := range l.needed {
		if !slices.ContainsFunc(folders, func(dir string) bool { return strings.HasPrefix(f, dir+"/") }) {
			targets = append(targets, f)
		}
	}
	if _, err := os.Stat(loaderCache); err == nil {
		targets = append(targets, loaderCache)
	}
	slices.Sort(targets)
	var all []Mount
	for _, target := range targets {
		source, err := filepath.EvalSymlinks(target)
		if err != nil {
			return nil, fmt.Errorf("gvisor: %w", err)
		}
		all = append(all, Mount{Source: source, Target: filepath.Clean(target)})
	}
	return all, CheckMounts(all)
}

// libraries finds ELF files that others need.
type libraries struct {
	folders []string // where the loader looks, in its order
	needed  map[string]bool
}

// maxLibraries bounds what one interpreter may need.
const maxLibraries = 200

func (l *libraries) add(file string) error {
	if l.needed[file] {
		return nil
	}
	if l.needed[file] = true; len(l.needed) > maxLibraries {
		return fmt.Errorf("gvisor: more than %d libraries are needed", maxLibraries)
	}
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("gvisor: %s: %w", file, err)
	}
	defer f.Close()
	if loader, err := interp(f); err != nil {
		return fmt.Errorf("gvisor: %s: %w", file, err)
	} else if loader != "" {
		l.needed[loader] = true
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("gvisor: the libraries of %s: %w", file, err)
	}
	folders := append(runPaths(f, file), l.folders...)
	for _, name := range names {
		found, err := find(name, folders, f.Machine)
		if err != nil {
			return fmt.Errorf("gvisor: %s needs %s: %w", file, name, err)
		}
		if err := l.add(found); err != nil {
			return err
		}
	}
	return nil
}

// interp gives the loader that an executable names (PT_INTERP); empty if none.
func interp(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz > 4096 {
			return "", errors.New("the name of its loader is too long")
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", err
		}
		return strings.TrimRight(string(b), "\x00"), nil
	}
	return "", nil
}

// runPaths gives the folders that a file itself names, $ORIGIN being its own.
func runPaths(f *elf.File, file string) (folders []string) {
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, err := f.DynString(tag)
		if err != nil {
			continue
		}
		for _, list := range lists {
			for _, dir := range filepath.SplitList(list) {
				dir = strings.NewReplacer("$ORIGIN", filepath.Dir(file), "${ORIGIN}", filepath.Dir(file)).Replace(dir)
				if filepath.IsAbs(dir) {
					folders = append(folders, filepath.Clean(dir))
				}
			}
		}
	}
	return folders
}

// find looks for a library of the right machine.
func find(name string, folders []string, machine elf.Machine) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range folders {
		file := filepath.Join(dir, name)
		f, err := elf.Open(file)
		if err != nil {
			continue // not there, or a text that the linker reads
		}
		fits := f.Machine == machine
		f.Close()
		if fits {
			return file, nil
		}
	}
	return "", fs.ErrNotExist
}

// loaderFolders are where ld.so looks: those of its configuration and those
// that it knows by itself, Debian's with the machine in their name.
func loaderFolders() []string {
	folders := loaderConfig("/etc/ld.so.conf", 0)
	for _, pattern := range []string{"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		folders = append(folders, found...)
	}
	return folders
}

// loaderConfig reads a configuration of the loader: a folder a line, or
// "include" and a pattern of further files.
func loaderConfig(file string, depth int) (folders []string) {
	const deepest = 4
	b, err := os.ReadFile(file)
	if err != nil || depth > deepest {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			if pattern = strings.TrimSpace(pattern); !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(file), pattern)
			}
			more, _ := filepath.Glob(pattern)
			for _, f := range more {
				folders = append(folders, loaderConfig(f, depth+1)...)
			}
		} else if filepath.IsAbs(line) {
			folders = append(folders, filepath.Clean(line))
		}
	}
	return folders
}
