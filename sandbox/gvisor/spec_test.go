package gvisor

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sandboxes are those that the spawner makes.
var sandboxes = map[string]Sandbox{
	"worker": {Args: []string{WorkerPath, "inside", "worker"}, Env: []string{"GOMAXPROCS=1"}},
	"native": {Args: []string{WorkerPath, "inside", "native"}, Env: []string{"GOMAXPROCS=1"}, TmpBytes: 512 << 20, TaskBytes: 256 << 20},
}

func TestSpecs(t *testing.T) {
	for name, s := range sandboxes {
		got, err := Spec(s)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got) {
			t.Errorf("the bundle of %s has changed; if it should, run go test ./sandbox/gvisor -update\n%s", name, got)
		}
	}
	for name, s := range map[string]Sandbox{"no program": {}, "a relative program": {Args: []string{"carrel-worker"}}} {
		if _, err := Spec(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// lintSpec says what is wrong with a bundle (attack A78).
func lintSpec(content []byte) (wrong []string) {
	bad := func(text string) { wrong = append(wrong, text) }
	var s ociSpec
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields() // hooks, devices, sysctls, annotations and what else a bundle could have
	if err := d.Decode(&s); err != nil {
		return []string{"it has parts that no bundle of ours has: " + err.Error()}
	}
	if !s.Root.Readonly || s.Root.Path != "rootfs" {
		bad("its root can be written, or is elsewhere")
	}
	if s.Process.User.UID == 0 || s.Process.User.GID == 0 {
		bad("it runs as root")
	}
	c := s.Process.Capabilities
	if n := len(c.Bounding) + len(c.Effective) + len(c.Inheritable) + len(c.Permitted) + len(c.Ambient); n > 0 {
		bad("it has capabilities")
	}
	if !s.Process.NoNewPrivileges || s.Process.Terminal {
		bad("it can gain privileges, or has a terminal")
	}
	for _, kind := range []string{"pid", "network", "ipc", "uts", "mount"} {
		if !slices.Contains(s.Linux.Namespaces, ociNamespace{kind}) {
			bad("it has no namespace of its own for " + kind)
		}
	}
	if len(s.Process.Rlimits) < 2 || s.Process.Rlimits[0].Type != "RLIMIT_NOFILE" || s.Process.Rlimits[0].Hard > 4096 {
		bad("its open files are not bounded")
	}
	for _, m := range s.Mounts {
		has := func(option string) bool { return slices.Contains(m.Options, option) }
		if !has("nosuid") || !has("nodev") || has("bind") || has("rbind") {
			bad(m.Destination + ": not nosuid and nodev, or bound from the host")
		}
		switch {
		case m.Destination == "/proc" && m.Type == "proc" && has("noexec"):
		case (m.Destination == "/tmp" || m.Destination == "/var/task") && m.Type == "tmpfs" && strings.Contains(strings.Join(m.Options, ","), "size="):
		default:
			bad(m.Destination + ": no mount of ours")
		}
	}
	return wrong
}

// TestA78 holds every bundle to what a sandbox may have, and shows that the
// linter finds each of the weaknesses.
func TestA78SpecsGiveNothingAway(t *testing.T) {
	for name, s := range sandboxes {
		spec, err := Spec(s)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := lintSpec(spec); len(wrong) > 0 {
			t.Errorf("%s: %v", name, wrong)
		}
		for what, change := range map[string]func(*ociSpec){
			"writable root":  func(s *ociSpec) { s.Root.Readonly = false },
			"root":           func(s *ociSpec) { s.Process.User.UID = 0 },
			"capability":     func(s *ociSpec) { s.Process.Capabilities.Ambient = []string{"CAP_NET_RAW"} },
			"new privileges": func(s *ociSpec) { s.Process.NoNewPrivileges = false },
			"host's network": func(s *ociSpec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] },
			"files":          func(s *ociSpec) { s.Process.Rlimits = nil },
			"bind of /dev": func(s *ociSpec) {
				s.Mounts = append(s.Mounts, ociMount{"/dev", "bind", "/dev", []string{"rbind", "nosuid", "nodev"}})
			},
			"devices": func(s *ociSpec) { s.Mounts[0].Options = []string{"nosuid"} },
			"endless tmpfs": func(s *ociSpec) {
				s.Mounts = append(s.Mounts, ociMount{"/tmp", "tmpfs", "tmpfs", []string{"nosuid", "nodev"}})
			},
			"host's sockets": func(s *ociSpec) {
				s.Mounts = append(s.Mounts, ociMount{"/run", "bind", "/run", []string{"nosuid", "nodev"}})
			},
			"another folder ": func(s *ociSpec) { s.Root.Path = "/" },
		} {
			var weak ociSpec
			if err := json.Unmarshal(spec, &weak); err != nil {
				t.Fatal(err)
			}
			change(&weak)
			b, _ := json.Marshal(weak)
			if len(lintSpec(b)) == 0 {
				t.Errorf("%s: the linter does not find: %s", name, what)
			}
		}
	}
}

func TestA78MountsOfTheHost(t *testing.T) {
	good := []Mount{{"/usr/bin/node", "/usr/bin/node"}, {"/usr/lib/python3.11", "/usr/lib/python3.11"}}
	if err := CheckMounts(good); err != nil {
		t.Error(err)
	}
	for _, m := range []Mount{
		{"/dev", "/x"}, {"/dev/kvm", "/x"}, {"/x", "/dev/kvm"}, {"/", "/x"}, {"/x", "/"}, {"/run/docker.sock", "/x"}, {"/var/run", "/x"},
		{"/proc", "/x"}, {"/sys/fs", "/x"}, {"x", "/x"}, {"/x", "x"}, {"/x/../dev", "/x"}, {"/x", WorkerPath}, {"/x", "/tmp"}, {"/x", "/usr/bin/node"},
	} {
		if err := CheckMounts(append(slices.Clone(good), m)); err == nil {
			t.Errorf("a mount of %s at %s was taken", m.Source, m.Target)
		}
	}
}

// TestFlags holds runsc to the strict profile.
func TestA78Flags(t *testing.T) {
	args := Runtime{Path: "/bin/runsc"}.Args()
	for _, want := range []string{
		"--network=none", "--host-uds=none", "--host-fifo=none", "--overlay2=none", "--directfs=false", "--platform=systrap",
		"--character-device-policy=emulated-only", "--allow-suid=false", "--net-raw=false", "--rootless", "--root=" + stateFolder,
	} {
		if !slices.Contains(args, want) {
			t.Errorf("runsc is started without %s", want)
		}
	}
	for _, args := range [][]string{args, Runtime{Path: "/bin/crun", OCI: true}.Args()} {
		for _, a := range args {
			if strings.Contains(a, "TESTONLY") || strings.Contains(a, "debug") || strings.Contains(a, "profile") {
				t.Errorf("a flag that weakens: %s", a)
			}
		}
	}
}
