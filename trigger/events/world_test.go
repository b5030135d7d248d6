//go:build linux

package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/iamtest"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// world is a node without anything but its queue.
type world struct {
	t         *testing.T
	dir       string
	bus       *bus.Bus
	js        *killable
	keys      *secret.Keeper
	journal   *journal.Journal
	authority *iam.Authority
	directory *iamtest.Directory
	state     *state
	queue     *Queue
	cfg       Config
	serial    atomic.Int64

	mu     sync.Mutex
	now    time.Time
	runs   map[string][]int // attempts that ran, by request id
	ended  map[string]end   // what the journal would say
	target map[tenant.AccountID]*function.Target
	// invoke says how a call ends; it is asked without a lock.
	invoke func(ctx context.Context, c *call.Call) *call.Outcome
	ran    chan string // gets the id of each call that ended
}

type end struct {
	attempt int
	result  call.Result
}

// state implements iam.Snapshot.
type state struct {
	mu        sync.Mutex
	suspended map[tenant.AccountID]bool
	revoked   map[string]bool
}

func (s *state) Generation() uint64   { return 1 }
func (s *state) Confirmed() time.Time { return time.Now() }
func (s *state) Status(a tenant.AccountID) (tenant.Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspended[a] {
		return tenant.Suspended, true
	}
	return tenant.Active, true
}

// gone tells whether a key or a session was revoked, or whose it is deleted.
func (s *state) gone(p *call.Principal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked[p.AccessKeyID] || p.Session != nil && (s.revoked[p.Session.ID] || s.revoked[string(p.Session.IssuerUID)])
}

const (
	acme   tenant.AccountID = "111111111111"
	globex tenant.AccountID = "222222222222"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), now: epoch, runs: map[string][]int{}, ended: map[string]end{},
		target: map[tenant.AccountID]*function.Target{}, ran: make(chan string, 100_000),
		state: &state{suspended: map[tenant.AccountID]bool{}, revoked: map[string]bool{}},
	}
	w.invoke = func(context.Context, *call.Call) *call.Outcome { return &call.Outcome{} }
	w.directory = iamtest.NewDirectory()
	w.directory.Gone = w.state.gone
	w.authority = iamtest.With(w.state, w.directory)
	var err error
	w.bus, err = bus.Start(bus.Config{StoreDir: filepath.Join(w.dir, "bus")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.bus.Close() })
	if err := w.bus.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.keys = newKeeper(t)
	for i, id := range []tenant.AccountID{acme, globex} {
		w.addTenant(id, []tenant.Slug{"acme", "globex"}[i])
	}
	w.cfg = Config{
		Keys: w.keys, Invoke: w.pipeline, Resolve: w.resolve, Ended: w.endedOf, Now: w.clock,
		EventConfig: func(tenant.AccountID, *function.Target) (int, int) { return 2, 21600 },
		PlanOf:      func(tenant.AccountID) admit.Plan { return admit.Plan{Queue: 1000} },
		Principal:   w.principalOf,
	}
	if testing.Verbose() {
		w.cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.openJournal()
	t.Cleanup(func() { w.journal.Close() })
	return w
}

func newKeeper(t *testing.T) *secret.Keeper {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	rootFile := filepath.Join(t.TempDir(), "root.key")
	root, _, err := secret.OpenRootKey(rootFile, folder)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Open(secret.Config{Root: root, Keys: folder})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (w *world) addTenant(id tenant.AccountID, slug tenant.Slug) {
	w.t.Helper()
	uid := tenant.NewUID()
	if err := w.keys.CreateTenant(uid); err != nil {
		w.t.Fatal(err)
	}
	w.target[id] = &function.Target{
		Account: id, AccountUID: uid, AccountSlug: slug, FunctionUID: tenant.NewUID(), Name: "orders",
		Version: function.Latest, ARN: function.ARN("us-east-1", id, "orders", ""),
	}
}

func (w *world) openJournal() {
	w.t.Helper()
	folder := filepath.Join(w.dir, "journal")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.t.Fatal(err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { root.Close() })
	w.journal, err = journal.Open(root, journal.Config{Node: "n1"})
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens the queue on what is there.
func (w *world) open() {
	w.t.Helper()
	w.js = &killable{JetStream: w.bus.JetStream()}
	w.cfg.Journal, w.cfg.JetStream = w.journal, w.js
	q, err := Open(w.t.Context(), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.queue = q
	w.t.Cleanup(func() { w.close(q) })
}

func (w *world) close(q *Queue) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	q.Close(ctx) // an error says that calls were given up, which tests do on purpose
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// advance moves the clock and lets the queue see it.
func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	w.queue.poke()
}

func (w *world) pipeline(ctx context.Context, c *call.Call) *call.Outcome {
	if _, err := w.authority.AuthoriseCall(c); err != nil {
		w.ran <- c.RequestID
		return &call.Outcome{Result: call.Refused, Err: err}
	}
	w.mu.Lock()
	invoke := w.invoke
	w.runs[c.RequestID] = append(w.runs[c.RequestID], c.Attempt)
	w.mu.Unlock()
	o := invoke(ctx, c)
	w.ran <- c.RequestID
	return o
}

func (w *world) resolve(account tenant.AccountID, name function.Name, _ string) (*function.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.target[account]
	if t == nil || t.Name != name {
		return nil, fault.New("test", fault.NotFound, "Function not found: %s", name)
	}
	return t, nil
}

func (w *world) endedOf(id string) (int, bool, call.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, found := w.ended[id]
	return e.attempt, found, e.result
}

func (w *world) principalOf(key string) (call.Principal, bool) {
	w.state.mu.Lock()
	defer w.state.mu.Unlock()
	for _, account := range []tenant.AccountID{acme, globex} {
		if p := principal(account); p.AccessKeyID == key && !w.state.revoked[key] {
			return p, true
		}
	}
	return call.Principal{}, false
}

func principal(account tenant.AccountID) call.Principal {
	return call.Principal{
		Type: call.TypeUser, ARN: "arn:aws:iam::" + string(account) + ":user/admin", Account: account, AccessKeyID: "AKIA" + string(account),
	}
}

// call makes a call with a new request id.
func (w *world) call(account tenant.AccountID, payload string) *call.Call {
	return &call.Call{
		RequestID: fmt.Sprintf("%s-%06d", account, w.serial.Add(1)), Attempt: 1, Principal: principal(account),
		Owner: tenant.Identity{Account: account}, Target: w.target[account], Trigger: call.ViaEvent,
		Event: []byte(payload), ClientContext: "e30=", Received: w.clock(),
		Chain: []call.Link{{Principal: call.Principal{Type: call.TypeUser, ARN: "arn:aws:iam::" + string(account) + ":user/first", Account: account}, RequestID: "r0"}},
	}
}

func (w *world) enqueue(c *call.Call) error {
	w.t.Helper()
	g, err := w.authority.AuthoriseCall(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.queue.Enqueue(w.t.Context(), g)
}

// accept enqueues an event and demands that it is accepted.
func (w *world) accept(account tenant.AccountID, payload string) string {
	w.t.Helper()
	c := w.call(account, payload)
	if err := w.enqueue(c); err != nil {
		w.t.Fatal(err)
	}
	return c.RequestID
}

// wait waits for n calls to end.
func (w *world) wait(n int) {
	w.t.Helper()
	for i := range n {
		select {
		case <-w.ran:
		case <-time.After(20 * time.Second):
			w.t.Fatalf("only %d of %d calls ended", i, n)
		}
	}
}

// until waits until something is true.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// hold keeps an account's events waiting.
func (w *world) hold(account tenant.AccountID, d time.Duration) {
	until := w.clock().Add(d)
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	w.queue.schedule.pause(account, until)
}

// settled waits until nothing runs.
func (w *world) settled() {
	w.t.Helper()
	w.until("nothing runs", func() bool {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		s := w.queue.schedule
		for _, l := range s.lines {
			if l.reserved > 0 || !l.paused && l.ready.len() > 0 {
				return false
			}
		}
		return s.running == 0
	})
}

func (w *world) attempts(id string) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]int(nil), w.runs[id]...)
}

func (w *world) list(account tenant.AccountID, s State) []Item {
	w.t.Helper()
	g, err := w.authority.Authorise(iam.Request{
		Principal: principal(account), Action: ListAction, Owner: tenant.Identity{Account: account},
		Resource: "arn:aws:carrel:us-east-1:" + string(account) + ":event/*",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var all []Item
	for cursor := ""; ; {
		page, next, err := w.queue.List(w.t.Context(), g, Query{Owner: w.target[account].AccountUID, State: s, Cursor: cursor, Limit: 3})
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

func (w *world) messages(s bus.Stream) uint64 {
	w.t.Helper()
	stream, err := w.bus.JetStream().Stream(w.t.Context(), string(s))
	if err != nil {
		w.t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// errKilled is what everything gives after the kill.
var errKilled = errors.New("the node was killed")

// killable is a JetStream that dies after a number of writes: from then on
// nothing is written any more, as if the node had been killed there.
type killable struct {
	jetstream.JetStream
	left atomic.Int64 // writes that succeed yet; 0 is no bound, negative is dead
}

func (k *killable) dead() bool {
	for {
		left := k.left.Load()
		switch {
		case left == 0:
			return false
		case left < 0:
			return true
		}
		next := left - 1
		if next == 0 {
			next = -1
		}
		if k.left.CompareAndSwap(left, next) {
			return next < 0
		}
	}
}

func (k *killable) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if k.dead() {
		return nil, errKilled
	}
	return k.JetStream.PublishMsg(ctx, m, opts...)
}

func (k *killable) PublishMsgAsync(m *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if k.dead() {
		return nil, errKilled
	}
	return k.JetStream.PublishMsgAsync(m, opts...)
}

func (k *killable) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := k.JetStream.Stream(ctx, name)
	return killableStream{s, k}, err
}

type killableStream struct {
	jetstream.Stream
	of *killable
}

func (s killableStream) DeleteMsg(ctx context.Context, seq uint64) error {
	if s.of.dead() {
		return errKilled
	}
	return s.Stream.DeleteMsg(ctx, seq)
}

// unshipped counts the events on the journal that the stream has not.
func (w *world) unshipped() (n int) {
	w.t.Helper()
	_, err := w.journal.Read(w.queue.Shipped(), func(r journal.Record) error {
		if r.Kind == KindEvent {
			n++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
