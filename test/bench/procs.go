//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setting is the Go settings of a measured process; zero values are Go's.
type setting struct{ gogc, procs int }

func (s setting) env() (env []string) {
	if s.gogc > 0 {
		env = append(env, "GOGC="+strconv.Itoa(s.gogc))
	}
	if s.procs > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(s.procs))
	}
	return env
}

func (s setting) String() string { return strings.Join(s.env(), " ") }

// self prepares another process of this binary, which ends with this one.
func (b *bench) self(role string, s setting) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, path, role)
	tied(cmd)
	cmd.Env = append(cmd.Environ(), s.env()...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// tied ends a process with this one, however this one ends.
func tied(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// role runs another process of this binary to its end.
func (b *bench) role(name string, s setting, spec, result any) error {
	cmd, err := b.self(name, s)
	if err != nil {
		return err
	}
	in, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("bench %s: %w", name, err)
	}
	return json.Unmarshal(out, result)
}

// load runs a generator. Failed calls are in the result; that all failed is
// an error, because then nothing was measured.
func (b *bench) load(kind string, spec loadSpec) (loadResult, error) {
	var r loadResult
	if err := b.role(kind, setting{gogc: 400}, spec, &r); err != nil {
		return r, err
	}
	if r.Calls == 0 {
		return r, fmt.Errorf("no call succeeded: %s", r.Error)
	}
	return r, nil
}

// peer is a server that is compared with a node.
type peer struct {
	name, address string
	pid           int
	stop          func()
}

// startBare starts the bare server.
func (b *bench) startBare(s setting) (*peer, error) {
	cmd, err := b.self("bare", s)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		in.Close()
		cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("the bare server did not start: %w", err)
	}
	return &peer{"bare net/http", strings.TrimSpace(line), cmd.Process.Pid, stop}, nil
}

// workerdPackage is its name on npm.
const workerdPackage = "workerd"

// errNoPeer says that workerd is not there, and why.
var errNoPeer = errors.New("workerd is not there")

// installWorkerd gives workerd's binary, which npm puts into the user's cache.
func (b *bench) installWorkerd() (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: npm, which brings it, is not installed", errNoPeer)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoPeer, err)
	}
	dir := filepath.Join(cache, "carrel-bench")
	find := func() (string, error) {
		found, err := filepath.Glob(filepath.Join(dir, "node_modules", "@cloudflare", "workerd-linux-*", "bin", "workerd"))
		if err != nil || len(found) == 0 {
			return "", fmt.Errorf("%w: its package has no binary for this machine", errNoPeer)
		}
		return found[0], nil
	}
	if path, err := find(); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", errNoPeer, err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Minute)
	defer cancel()
	// Its scripts only try the binary; none is run.
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", workerdPackage)
	tied(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: npm install: %w: %.500s", errNoPeer, err, out)
	}
	return find()
}

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .echo)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
const echo :Workerd.Worker = (
  modules = [(name = "echo.js", esModule = embed "echo.js")],
  compatibilityDate = "2025-01-01",
);
`

const workerdEcho = `export default {
  async fetch(request) {
    return new Response(await request.arrayBuffer(), { headers: { "Content-Type": "application/json" } });
  },
};
`

// startWorkerd starts workerd with a function that returns its body.
func (b *bench) startWorkerd() (*peer, error) {
	path, err := b.installWorkerd()
	if err != nil {
		return nil, err
	}
	told, err := exec.CommandContext(b.ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%w: it does not run here: %w", errNoPeer, err)
	}
	config := filepath.Join(b.dir, "workerd.capnp")
	err = errors.Join(os.WriteFile(config, []byte(workerdConfig), 0o644),
		os.WriteFile(filepath.Join(b.dir, "echo.js"), []byte(workerdEcho), 0o644))
	if err != nil {
		return nil, err
	}
	// It tells the port it took on a descriptor, as a line of JSON.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd := exec.CommandContext(b.ctx, path, "serve", "--control-fd=3", config)
	tied(cmd)
	cmd.ExtraFiles = []*os.File{write}
	var log bytes.Buffer
	cmd.Stderr = &log
	err = cmd.Start()
	write.Close()
	if err != nil {
		return nil, err
	}
	stop := func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	read.SetReadDeadline(time.Now().Add(patience))
	for lines := bufio.NewScanner(read); lines.Scan(); {
		var event struct {
			Event, Socket string
			Port          int
		}
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Event == "listen" {
			return &peer{strings.TrimSpace(string(told)), fmt.Sprintf("127.0.0.1:%d", event.Port), cmd.Process.Pid, stop}, nil
		}
	}
	stop()
	return nil, fmt.Errorf("workerd did not start: %s", log.String())
}

// buildGreeter compiles the example in Go for the sandbox.
func (b *bench) buildGreeter() ([]byte, error) {
	file := filepath.Join(b.dir, "bootstrap.wasm")
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-buildmode=c-shared", "-o", file, "github.com/carrel-dev/carrel/examples/greeter")
	cmd.Env = append(cmd.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building examples/greeter: %w: %s", err, out)
	}
	return os.ReadFile(file)
}

// cpuTime is the processor time that a process has used, with all that live
// below it and all that they have waited for.
func cpuTime(root int) (time.Duration, error) {
	parents, waited, err := processes()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	found := false
	for pid := range parents {
		if !below(parents, pid, root) {
			continue
		}
		// The clock of a process counts in nanoseconds; /proc counts in
		// hundredths of a second, in which a worker that was only started
		// has used nothing.
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
			continue // it has ended since
		}
		sum += time.Duration(t.Nano()) + waited[pid]
		found = found || pid == root
	}
	if !found {
		return 0, fmt.Errorf("process %d is gone", root)
	}
	return sum, nil
}

func below(parents map[int]int, pid, root int) bool {
	for n := 0; pid > 1 && n < 64; n++ {
		if pid == root {
			return true
		}
		pid = parents[pid]
	}
	return false
}

// processes gives every process's parent, and the time of those it waited for.
func processes() (parents map[int]int, waited map[int]time.Duration, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, err
	}
	parents, waited = map[int]int{}, map[int]time.Duration{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended since
		}
		// The name is in brackets and may hold anything; state and parent
		// follow it, cutime and cstime are the 14th and 15th after it.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 15 {
			return nil, nil, fmt.Errorf("/proc/%d/stat is not understood", pid)
		}
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, f := range fields[13:15] {
			ticks, _ := strconv.Atoi(f)
			waited[pid] += time.Duration(ticks) * (time.Second / userHz)
		}
	}
	return parents, waited, nil
}

// userHz is the unit of times in /proc; it is 100 on all Linux machines.
const userHz = 100
