package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/wasm/wasmtest"
)

// modules are the attacks by what is uploaded, and from inside of it.
func modules() []Attack {
	const limits = "limits on modules, checked before a compiler sees them"
	const oneCall = "a fresh state for each call"
	return []Attack{
		{ID: "A47", Title: "archives with names that lead out", Defence: "archives are read in memory, and odd names refused", run: archives("up", "far up", "absolute", "drive", "backslash", "nul", "twice", "case twin")},
		{ID: "A48", Title: "archives with links, devices, pipes, and files of other users", Defence: "only plain files are taken", run: archives("symbolic link", "link beside", "device", "fifo", "setuid")},
		{ID: "A49", Title: "archives that are bombs, lie or are cut", Defence: "limits on size and number while reading", run: archives("many entries", "bomb", "lying size", "cut", "nested")},
		{ID: "A52", Title: "modules that take long to compile", Defence: limits, run: bombs("deep nesting", "nesting times locals", "blocks times locals", "one huge body", "huge br_table", "many locals"), alone: true},
		{ID: "A54", Title: "memory that grows without end", Defence: "the function's memory limit", run: ends(doEat, "Runtime.OutOfMemory")},
		{ID: "A55", Title: "modules of too many or too large parts", Defence: limits, run: bombs("huge table", "many tables", "large memory", "many types"), alone: true},
		{ID: "A56", Title: "a loop without end", Defence: "the deadline, asked for at each slice of fuel", run: spin},
		{ID: "A57", Title: "recursion without end", Defence: "the limit of the stack", run: ends(doRecurse)},
		{ID: "A59", Title: "pointers to the host that lie outside of memory or wrap", Defence: "one checked way from address to bytes", run: badPointers},
		{ID: "A61", Title: "leaving /tmp by a path", Defence: "a file system in memory that holds nothing else", run: paths},
		{ID: "A62", Title: "reading what an earlier call left in memory", Defence: oneCall, run: residue},
		{ID: "A63", Title: "proposals that are not accepted", Defence: "validation", run: proposals},
		{ID: "A81", Title: "residue of a call in files, descriptors and variables, after a trap and a timeout too", Defence: oneCall, run: residueAfterFailure},
		{ID: "A82", Title: "equal randomness in calls that start alike", Defence: "a seed for each call", run: randomness},
		{ID: "A92", Title: "a clock fine enough for timing", Defence: "clocks in steps of 1 ms", run: clock},
	}
}

func archive(name string) []byte {
	code := harmless()
	good := Entry{Name: "bootstrap.wasm", Content: code}
	beside := func(e Entry) []byte { return Zipped(good, e) }
	whole := Zipped(good)
	switch name {
	case "up":
		return beside(Entry{Name: "../evil"})
	case "far up":
		return beside(Entry{Name: "a/../../../../etc/cron.d/evil"})
	case "absolute":
		return beside(Entry{Name: "/etc/evil"})
	case "drive":
		return beside(Entry{Name: `C:\evil`})
	case "backslash":
		return beside(Entry{Name: `..\evil`})
	case "nul":
		return beside(Entry{Name: "evil\x00.txt"})
	case "twice":
		return beside(good)
	case "case twin":
		return beside(Entry{Name: "BOOTSTRAP.wasm", Content: code})
	case "symbolic link":
		return Zipped(Entry{Name: "bootstrap.wasm", Content: []byte("/etc/passwd"), Mode: fs.ModeSymlink | 0o777})
	case "link beside":
		return beside(Entry{Name: "l", Content: []byte("/"), Mode: fs.ModeSymlink | 0o777})
	case "device":
		return beside(Entry{Name: "d", Mode: fs.ModeDevice | 0o666})
	case "fifo":
		return beside(Entry{Name: "p", Mode: fs.ModeNamedPipe | 0o666})
	case "setuid":
		return beside(Entry{Name: "s", Mode: fs.ModeSetuid | 0o755})
	case "many entries":
		many := []Entry{good}
		for n := range 5_000 {
			many = append(many, Entry{Name: fmt.Sprint("f", n)})
		}
		return Zipped(many...)
	case "bomb":
		return Zipped(Entry{Name: "bootstrap.wasm", Content: make([]byte, 100<<20)})
	case "lying size": // its directory says 1 GiB
		copy(whole[bytes.LastIndex(whole, []byte("PK\x01\x02"))+24:], []byte{0, 0, 0, 0x40})
		return whole
	case "cut":
		return whole[:len(whole)-10]
	case "nested":
		return Zipped(Entry{Name: "bootstrap.wasm", Content: whole})
	}
	return whole
}

func archives(names ...string) func(context.Context, *try) error {
	return func(ctx context.Context, t *try) error {
		for _, name := range names {
			t.notBuilt(ctx, name, archive(name))
		}
		f, err := t.own(ctx, t.A, function{name: "plain", code: archive("")})
		if err != nil {
			t.twin(false, "%v", err)
			return nil
		}
		o := t.invoke(ctx, t.A, f, "1")
		t.twin(o.good(), "an ordinary archive: %s", o)
		return nil
	}
}

// notBuilt counts code that has to be refused, at once or by the state Failed.
func (t *try) notBuilt(ctx context.Context, what string, code []byte) {
	name := t.keep(t.A, strings.ReplaceAll(what, " ", "-"))
	state, reason := t.build(ctx, t.A, function{name: name, code: code})
	t.holds((state == "" || state == "Failed") && reason != "" && !strings.HasPrefix(reason, "0 "), "refused: "+cut(reason)[:min(len(cut(reason)), 60)], "%s is %s: %s", what, state, reason)
}

func bombs(names ...string) func(context.Context, *try) error {
	return func(ctx context.Context, t *try) error {
		all := wasmtest.Bombs()
		for _, name := range names {
			if all[name] == nil {
				return fmt.Errorf("there is no module %q", name)
			}
			began := time.Now()
			t.notBuilt(ctx, name, all[name])
			if took := time.Since(began); took > 20*time.Second {
				t.breach("%s took %s", name, took)
			}
		}
		f, err := t.own(ctx, t.B, function{name: "beside", code: harmless()})
		if err != nil {
			t.twin(false, "%v", err)
			return nil
		}
		o := t.invoke(ctx, t.B, f, "1")
		t.twin(o.good(), "another tenant's deploy: %s", o)
		return nil
	}
}

// works is the twin of what is done with a tool.
func (t *try) works(ctx context.Context, as *Tenant, name string) {
	o := t.invoke(ctx, as, name, command(doEcho, "hello"))
	t.twin(o.good() && strings.HasPrefix(o.body, command(doEcho, "hello")), "a call of %s of %s: %s", name, as.Slug, o)
}

// ends does what has to end the call, and only it.
func ends(letter rune, reasons ...string) func(context.Context, *try) error {
	return func(ctx context.Context, t *try) error {
		for range 3 {
			t.ended("the call", t.invoke(ctx, t.A, tool, command(letter, "")), reasons...)
			t.works(ctx, t.A, tool)
			t.works(ctx, t.B, tool)
		}
		return nil
	}
}

func spin(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule(), timeout: 1})
	if err != nil {
		return err
	}
	t.works(ctx, t.A, f)
	o := t.invoke(ctx, t.A, f, command(doSpin, ""))
	t.ended("the loop", o, "Sandbox.Timedout")
	if o.took > 4*time.Second {
		t.breach("it was stopped after %s, its limit is 1s", o.took)
	}
	t.works(ctx, t.A, f)
	return nil
}

// run deploys a probe and calls it.
func (t *try) run(ctx context.Context, name string, p *probe) (probed, error) {
	f, err := t.own(ctx, t.A, function{name: name, code: p.module()})
	if err != nil {
		return probed{}, err
	}
	o := t.invoke(ctx, t.A, f, "1")
	if !o.good() || len(o.body) < roomEnd-resultsAt {
		return probed{}, fmt.Errorf("the probe failed: %s", o)
	}
	return probed{[]byte(o.body)}, nil
}

// efault is WASI's number for a bad address.
const efault = 21

func badPointers(ctx context.Context, t *try) error {
	p := &probe{}
	good := p.call("random_get", roomAt, 32)
	const size = pages << 16
	for _, bad := range [][2]int{{size - 4, 32}, {-1, 32}, {size, 1}, {-16, 32}, {roomAt, -1}, {roomAt, size}, {1 << 31, 1}} {
		at, n := bad[0], bad[1]
		p.named(fmt.Sprintf("random_get(%d, %d)", at, n), "random_get", at, n)
	}
	for _, at := range []int{-1, size, size - 2, 1 << 31} {
		p.named(fmt.Sprintf("clock_time_get to %d", at), "clock_time_get", 0, int64(0), at)
		p.named(fmt.Sprintf("environ_sizes_get to %d", at), "environ_sizes_get", at, roomAt)
		p.named(fmt.Sprintf("fd_write from %d", at), "fd_write", 2, at, 1, roomAt)
		p.named(fmt.Sprintf("fd_read to %d", at), "fd_read", 0, at, 1, roomAt)
		p.named(fmt.Sprintf("context to %d", at), "context", at, 1<<20)
	}
	got, err := t.run(ctx, "", p)
	if err != nil {
		return err
	}
	for i, what := range p.calls {
		r := got.result(i)
		if i == good {
			t.twin(r == 0 && !bytes.Equal(got.room()[:32], make([]byte, 32)), "random bytes to a good address: %d", r)
			continue
		}
		t.holds(r == efault || r == -1, fmt.Sprintf("errno %d", r), "%s answered %d", what, r)
	}
	return nil
}

func paths(ctx context.Context, t *try) error {
	p := &probe{}
	at, n := p.str("plain")
	const readWrite = int64(1<<1 | 1<<6)
	good := p.call("path_open", 3, 0, at, n, 1, readWrite, int64(0), 0, roomAt)
	for _, path := range []string{
		"/etc/passwd", "../etc/passwd", "../../../../etc/passwd", "./../etc/passwd", "a/../../etc/passwd", "..", "../", "../proc/self/environ", "/proc/self/mem",
		"/proc/1/status", "/sys", "/dev/mem", "//etc/passwd", "/tmp/../etc/passwd", "plain/../../etc/passwd", "..\\etc\\passwd/..", "etc/passwd", "proc/self/fd/0",
	} {
		at, n := p.str(path)
		p.named("open "+path, "path_open", 3, 1, at, n, 0, readWrite, int64(0), 0, roomAt+8)
		p.named("stat "+path, "path_filestat_get", 3, 1, at, n, roomAt+64)
		p.named("unlink "+path, "path_unlink_file", 3, at, n)
		p.named("link to "+path, "path_symlink", at, n, 3, at, n)
	}
	for _, dir := range []int{0, 1, 2, 5, 100, -1} {
		p.named(fmt.Sprintf("open under descriptor %d", dir), "path_open", dir, 0, at, n, 1, readWrite, int64(0), 0, roomAt+8)
	}
	got, err := t.run(ctx, "", p)
	if err != nil {
		return err
	}
	for i, what := range p.calls {
		r := got.result(i)
		// The folder's own parent is the folder, as for every root.
		if what == "stat .." || what == "stat ../" {
			continue
		}
		if i == good {
			t.twin(r == 0, "a file in /tmp: errno %d", r)
			continue
		}
		t.holds(r != 0, fmt.Sprintf("errno %d", r), "%s worked", what)
	}
	return nil
}

func (t *try) leftNothing(ctx context.Context, f, after string, first *string) {
	o := t.invoke(ctx, t.A, f, command(doResidue, ""))
	if !o.good() || len(o.body) != residueSize {
		t.breach("the look after %s failed: %s", after, o)
		return
	}
	if *first == "" {
		*first = o.body
		words := make([]uint32, residueSize/4)
		if _, err := binary.Decode([]byte(o.body), binary.LittleEndian, words); err != nil {
			t.breach("%v", err)
		}
		t.twin(words[0] == 0 && words[1] == 0 && words[2] == 0 && words[4] == pages, "the first look: %v", words)
		return
	}
	t.holds(o.body == *first, "nothing left after "+after, "after %s a call finds %x, the first found %x", after, o.body, *first)
}

func residue(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule()})
	if err != nil {
		return err
	}
	var first string
	for range 40 {
		t.leftNothing(ctx, f, "a call", &first)
	}
	return nil
}

func residueAfterFailure(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule(), timeout: 1})
	if err != nil {
		return err
	}
	var first string
	for _, letter := range []rune{doEcho, doTrap, doRecurse, doEat, doFlood, doSpin, doTrap} {
		t.leftNothing(ctx, f, "a start", &first)
		t.invoke(ctx, t.A, f, command(letter, ""))
		t.leftNothing(ctx, f, "command "+string(letter), &first)
	}
	return nil
}

func proposals(ctx context.Context, t *try) error {
	code := harmless()
	const memory, header = "\x05\x04\x01\x01\x01\x01", "\x00asm\x01\x00\x00\x00"
	splice := func(from, to string) []byte { return bytes.Replace(code, []byte(from), []byte(to), 1) }
	raw := func(b ...byte) []byte { return answering(func(c *wasmtest.Code) { c.Raw(b...) }) }
	for what, module := range map[string][]byte{
		"memory64": splice(memory, "\x05\x04\x01\x05\x01\x01"), "shared memory": splice(memory, "\x05\x04\x01\x03\x01\x01"),
		"multi-memory": splice(memory, "\x05\x07\x02\x01\x01\x01\x01\x01\x01"), "tags": splice(memory, memory+"\x0d\x03\x01\x00\x00"),
		"component": splice(header, "\x00asm\x0d\x00\x01\x00"), "version 2": splice(header, "\x00asm\x02\x00\x00\x00"),
		"tail call": raw(0x12, 0), "throw": raw(0x08, 0), "try": raw(0x06, 0x40, 0x0b), "try_table": raw(0x1f, 0x40, 0, 0x0b), "atomic fence": raw(0xfe, 0x03, 0),
		"reference of GC": raw(0x41, 1, 0xfb, 0x1c, 0x1a),
	} {
		if bytes.Equal(module, code) {
			return errors.New("the module was not changed: " + what)
		}
		t.notBuilt(ctx, what, module)
	}
	f, err := t.own(ctx, t.A, function{name: "plain", code: raw(byte(wasmtest.Nop))})
	if err != nil {
		t.twin(false, "%v", err)
		return nil
	}
	o := t.invoke(ctx, t.A, f, "1")
	t.twin(o.good(), "an ordinary module: %s", o)
	return nil
}

func randomness(ctx context.Context, t *try) error {
	seen := map[string]bool{}
	for i := range 60 {
		as := []*Tenant{t.A, t.B}[i%2]
		o := t.invoke(ctx, as, tool, command(doRandom, ""))
		t.twin(o.good() && len(o.body) == 32, "random bytes: %s", o)
		t.holds(!seen[o.body], "other bytes", "two calls had the same random bytes")
		seen[o.body] = true
	}
	return nil
}

func clock(ctx context.Context, t *try) error {
	o := t.invoke(ctx, t.A, tool, command(doClock, ""))
	if !o.good() || len(o.body) != 8*clockReads {
		return fmt.Errorf("reading the clock: %s", o)
	}
	readings := make([]int64, clockReads)
	if _, err := binary.Decode([]byte(o.body), binary.LittleEndian, readings); err != nil {
		return err
	}
	t.twin(readings[0] > 0 && slices.IsSorted(readings), "the clock: %d, then %d", readings[0], readings[clockReads-1])
	least := int64(time.Hour)
	for i := 1; i < clockReads; i++ {
		if step := readings[i] - readings[i-1]; step > 0 {
			least = min(least, step)
		}
	}
	t.holds(least >= int64(time.Millisecond), "no step below 1 ms", "the clock moves by %d ns", least)
	return nil
}
