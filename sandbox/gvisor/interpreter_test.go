package gvisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInterpretersOfThisHost(t *testing.T) {
	find := func(t *testing.T, pattern string) string {
		found, _ := filepath.Glob(pattern)
		found = slices.DeleteFunc(found, func(f string) bool { return strings.Contains(filepath.Base(f), "-") })
		if len(found) == 0 {
			t.Skipf("this host has no %s", pattern)
		}
		return found[0]
	}
	check := func(t *testing.T, binary string, all []Mount, err error) {
		if err != nil {
			t.Fatal(err)
		}
		targets := map[string]bool{}
		for _, m := range all {
			targets[m.Target] = true
			if st, err := os.Lstat(m.Source); err != nil || st.Mode()&os.ModeSymlink != 0 {
				t.Errorf("%s is shown from %s: %v", m.Target, m.Source, err)
			}
		}
		if !targets[binary] {
			t.Errorf("%s itself is not shown", binary)
		}
		// ldd asks the loader itself: what it names has to be there.
		out, err := exec.Command("ldd", binary).Output()
		if err != nil {
			t.Skip("no ldd to compare with")
		}
		for _, field := range strings.Fields(string(out)) {
			if filepath.IsAbs(field) && !targets[field] {
				t.Errorf("the loader takes %s, which is not shown", field)
			}
		}
	}
	t.Run("node", func(t *testing.T) {
		binary := find(t, "/usr/bin/node")
		all, err := Node(binary)
		check(t, binary, all, err)
	})
	t.Run("python", func(t *testing.T) {
		binary := find(t, "/usr/bin/python3.[0-9]*")
		all, err := Python(binary)
		check(t, binary, all, err)
		if merged := Merge(all, all); len(merged) != len(all) {
			t.Errorf("merged with itself: %d of %d", len(merged), len(all))
		}
	})
	if _, err := Node("/etc/hostname"); err == nil {
		t.Error("a text was taken for a program")
	}
	if _, err := Python("/bin/true"); err == nil {
		t.Error("a program without a library was taken for Python")
	}
}

func TestLoaderConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ld.so.conf", "# ours\n/opt/lib\ninclude d-*.conf\nrelative\n")
	write("d-1.conf", "/opt/more/ # why\ninclude ld.so.conf\n")
	if got := loaderConfig(filepath.Join(dir, "ld.so.conf"), 0); len(got) < 2 || got[0] != "/opt/lib" || got[1] != "/opt/more" || len(got) > 8 {
		t.Errorf("folders %q", got)
	}
}
