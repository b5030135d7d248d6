package logs

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

type open struct{}

func (open) Generation() uint64                            { return 1 }
func (open) Confirmed() time.Time                          { return time.Now() }
func (open) Status(tenant.AccountID) (tenant.Status, bool) { return tenant.Active, true }

const acme tenant.AccountID = "111111111111"

type fixture struct {
	*Store
	dir     string
	cfg     Config
	account tenant.UID
	target  *function.Target
	grant   iam.Grant
}

func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), account: tenant.NewUID()}
	keyDir := t.TempDir()
	if err := os.Chmod(keyDir, 0o700); err != nil {
		t.Fatal(err)
	}
	keys, err := os.OpenRoot(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := secret.OpenRootKey(filepath.Join(t.TempDir(), "root.key"), keys)
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := secret.Open(secret.Config{Root: root, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.CreateTenant(f.account); err != nil {
		t.Fatal(err)
	}
	folder, err := os.OpenRoot(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	f.cfg = Config{Folder: folder, Keys: keeper, Log: slog.New(slog.DiscardHandler), Every: time.Hour}
	if change != nil {
		change(&f.cfg)
	}
	f.target = f.function("hello")
	f.grant, err = iamtest.Authority(open{}).Authorise(iam.Request{
		Principal: call.Principal{Type: call.TypeUser, Account: acme}, Action: ReadAction, Resource: arn, Owner: tenant.Identity{Account: acme},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	t.Cleanup(func() { f.Close(); folder.Close(); keys.Close() })
	return f
}

var arn = function.ARN("us-east-1", acme, "hello", "")

func (f *fixture) function(name function.Name) *function.Target {
	return &function.Target{
		Account: acme, AccountUID: f.account, AccountSlug: "acme", FunctionUID: tenant.NewUID(), Name: name, Version: "1", Limits: function.Limits{MemoryMB: 128},
	}
}

func (f *fixture) reopen(t *testing.T) {
	t.Helper()
	s, err := Open(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Store = s
}

func (f *fixture) print(n int, text string) {
	f.Append(&call.Call{RequestID: fmt.Sprintf("r-%d", n), Target: f.target, Received: time.Unix(int64(n), 0)},
		&call.Outcome{Log: []byte(text), Usage: call.Usage{Duration: 1500 * time.Microsecond, Cold: n == 0, Init: time.Millisecond, MaxMemory: 3 << 20}})
}

func (f *fixture) read(t *testing.T, from uint64, limit int) Page {
	t.Helper()
	p, err := f.Read(f.grant, Query{ARN: arn, Function: f.target.FunctionUID, From: from, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEntriesComeBackInOrderAlsoAfterARestart(t *testing.T) {
	f := newFixture(t, nil)
	for block := range 3 {
		for n := range 4 {
			f.print(block*4+n, "line\n")
		}
		if err := f.flush(); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		var got []string
		at, more := uint64(0), true
		for more {
			p := f.read(t, at, 3)
			for _, e := range p.Entries {
				got = append(got, e.RequestID)
			}
			at, more = p.Next, p.More
		}
		if want := "r-0 r-1 r-2 r-3 r-4 r-5 r-6 r-7 r-8 r-9 r-10 r-11"; strings.Join(got, " ") != want {
			t.Errorf("entries %v, want %s", got, want)
		}
	}
	check()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	check()
	f.print(12, "more\n")
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	if p := f.read(t, 3, 10); len(p.Entries) != 1 || p.Entries[0].Text != "more\n" {
		t.Errorf("after the restart: %+v", p)
	}
}

func TestTornBlockEndsTheFile(t *testing.T) {
	f := newFixture(t, nil)
	f.print(1, "whole\n")
	f.flush()
	f.print(2, "torn\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.dir, fileName(1))
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	f.print(3, "new\n")
	f.flush()
	p := f.read(t, 0, 10)
	if len(p.Entries) != 2 || p.Entries[0].Text != "whole\n" || p.Entries[1].Text != "new\n" {
		t.Errorf("entries %+v, want the whole one and the new one", p.Entries)
	}
}

func TestReadingWantsTheRightGrant(t *testing.T) {
	f := newFixture(t, nil)
	other := function.ARN("us-east-1", acme, "other", "")
	if _, err := f.Read(f.grant, Query{ARN: other, Function: f.target.FunctionUID}); !fault.Is(err, fault.Denied) {
		t.Errorf("a grant for one function was taken for another: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a zero grant was taken")
		}
	}()
	f.Read(iam.Grant{}, Query{ARN: arn})
}

func TestOldFilesGoAndNothingIsInTheClear(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.SegmentBytes, c.MaxBytes = 4<<10, 16<<10 })
	for n := range 60 {
		f.print(n, strings.Repeat("needle ", 150))
		if err := f.flush(); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		total += int64(len(b))
		if strings.Contains(string(b), "needle") {
			t.Error("a line of the log is on the disk in the clear")
		}
	}
	if total > 24<<10 {
		t.Errorf("%d bytes are kept at a bound of %d", total, 16<<10)
	}
	p := f.read(t, 0, 1000)
	if n := len(p.Entries); n == 0 || n == 60 || p.Entries[n-1].RequestID != "r-59" {
		t.Errorf("%d entries are left, want the newest of 60", n)
	}
}

func TestOneFunctionCannotFillTheMemory(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.BufferBytes = 10 << 10 })
	for n := range 10_000 {
		f.print(n, strings.Repeat("x", 1000))
	}
	s := f.stream(f.account, f.target.FunctionUID)
	if len(s.pending) > 64<<10 {
		t.Errorf("%d bytes gathered at a bound of %d", len(s.pending), 10<<10)
	}
	f.flush()
	p := f.read(t, 0, 100_000)
	if last := p.Entries[len(p.Entries)-1]; !strings.Contains(last.Text, "dropped") {
		t.Errorf("nobody is told of what was dropped: %q", last.Text)
	}
}

// TestAPageAndIdleBuffersAreBounded: a reader that asks for many large
// entries, and functions that once printed much, do not hold much memory.
func TestAPageAndIdleBuffersAreBounded(t *testing.T) {
	f := newFixture(t, nil)
	const blocks, size = 20, 500 << 10
	for n := range blocks {
		f.print(n, strings.Repeat("x", size))
		f.flush()
	}
	if s := f.stream(f.account, f.target.FunctionUID); cap(s.pending) > keepBuffer {
		t.Errorf("an idle function holds a buffer of %d bytes", cap(s.pending))
	}
	seen := 0
	for from, more := uint64(0), true; more; {
		p := f.read(t, from, 1000)
		bytes := 0
		for _, e := range p.Entries {
			bytes += len(e.Text)
		}
		if bytes > MaxPageBytes+size {
			t.Fatalf("a page has %d bytes", bytes)
		}
		seen, from, more = seen+len(p.Entries), p.Next, p.More
	}
	if seen != blocks {
		t.Errorf("the pages have %d entries of %d", seen, blocks)
	}
}

func TestFormatIsLambdas(t *testing.T) {
	f := newFixture(t, nil)
	f.print(0, "hello")
	f.flush()
	got := f.read(t, 0, 1).Entries[0]
	want := "START RequestId: r-0 Version: 1\nhello\nEND RequestId: r-0\n" +
		"REPORT RequestId: r-0\tDuration: 1.50 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 3 MB\tInit Duration: 1.00 ms\n"
	if got.Format() != want {
		t.Errorf("got  %q\nwant %q", got.Format(), want)
	}
}

func TestNewsComes(t *testing.T) {
	f := newFixture(t, nil)
	news := f.News(f.account, f.target.FunctionUID)
	f.print(1, "x")
	select {
	case <-news:
		t.Fatal("there was news before anything was written")
	default:
	}
	f.flush()
	<-news
}

func FuzzBlock(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeBlock(b)
		if len(b) >= headBytes {
			parseHead(b[:headBytes])
		}
	})
}
