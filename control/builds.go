package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

const (
	// buildRunners is how many artefacts are made at a time.
	buildRunners = 2
	// buildTime bounds one attempt: a reactor's initialisation runs in it.
	buildTime = 5 * time.Minute
	// buildAttempts is how often a build is tried that fails through no fault
	// of the module; buildBackoff is the wait before the second, doubled.
	buildAttempts = 4
	buildBackoff  = 500 * time.Millisecond
	maxReason     = 1000
)

// pendingBuild is an artefact to be made for a version.
type pendingBuild struct {
	key     string
	warmup  string
	version *function.Version
}

// buildEnd is what became of a build.
type buildEnd struct {
	pendingBuild
	made    BuildResult
	failure error
}

func (p pendingBuild) result(made BuildResult, failure error) buildEnd {
	return buildEnd{p, made, failure}
}

// builds makes artefacts in the background, a few at a time. Accounts take
// turns, and no account has two at once, so one that deploys a thousand
// functions does not keep another waiting behind them.
type builds struct {
	s  *Service
	mu sync.Mutex
	// waiting is the functions of each account in the order they came; turns
	// is the accounts that wait and have nothing running.
	waiting map[tenant.AccountID][]tenant.UID
	running map[tenant.AccountID]bool
	turns   []tenant.AccountID
	work    chan struct{}
	wg      sync.WaitGroup
}

func newBuilds(s *Service) *builds {
	b := &builds{s: s, waiting: map[tenant.AccountID][]tenant.UID{}, running: map[tenant.AccountID]bool{}, work: make(chan struct{}, buildRunners)}
	for range buildRunners {
		b.wg.Go(b.run)
	}
	return b
}

// close waits for the runners, whose context has ended.
func (b *builds) close() { b.wg.Wait() }

// add queues a function; one that waits already is not queued twice.
func (b *builds) add(account tenant.AccountID, uid tenant.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Contains(b.waiting[account], uid) {
		return
	}
	b.waiting[account] = append(b.waiting[account], uid)
	if len(b.waiting[account]) == 1 && !b.running[account] {
		b.turns = append(b.turns, account)
	}
	b.wake()
}

func (b *builds) wake() {
	select {
	case b.work <- struct{}{}:
	default:
	}
}

// next takes the function whose turn it is.
func (b *builds) next() (tenant.AccountID, tenant.UID, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		return "", "", false
	}
	account := b.turns[0]
	b.turns = b.turns[1:]
	uid := b.waiting[account][0]
	if b.waiting[account] = b.waiting[account][1:]; len(b.waiting[account]) == 0 {
		delete(b.waiting, account)
	}
	b.running[account] = true
	if len(b.turns) > 0 {
		b.wake()
	}
	return account, uid, true
}

func (b *builds) finished(account tenant.AccountID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.running, account)
	if len(b.waiting[account]) > 0 {
		b.turns = append(b.turns, account)
		b.wake()
	}
}

func (b *builds) run() {
	for {
		select {
		case <-b.s.ctx.Done():
			return
		case <-b.work:
		}
		for account, uid, found := b.next(); found && b.s.ctx.Err() == nil; account, uid, found = b.next() {
			b.s.build(b.s.ctx, uid)
			b.finished(account)
		}
	}
}

// build makes all that a function waits for.
func (s *Service) build(ctx context.Context, uid tenant.UID) {
	d, found := s.ix.byUID(uid)
	if !found {
		return // deleted meanwhile
	}
	for _, p := range d.pending() {
		r := p.result(s.make(ctx, d, p))
		if ctx.Err() != nil {
			return // begun again at the next start
		}
		if err := s.finish(ctx, uid, r); err != nil {
			s.retryLater(ctx, d)
		}
	}
}

// retryLater queues a function again whose result could not be stored.
func (s *Service) retryLater(ctx context.Context, d *deployed) {
	s.wg.Go(func() {
		if wait(ctx, 8*buildBackoff) {
			s.builds.add(d.Account, d.UID)
		}
	})
}

// make builds one artefact. An error of kind Invalid is the module's fault.
func (s *Service) make(ctx context.Context, d *deployed, p pendingBuild) (BuildResult, error) {
	backoff := buildBackoff
	for attempt := 1; ; attempt++ {
		result, err := s.makeOnce(ctx, d, p)
		if err == nil || attempt == buildAttempts || fault.Is(err, fault.Invalid) || fault.Is(err, fault.TooLarge) || !wait(ctx, backoff) {
			return result, err
		}
		backoff *= 2
	}
}

func (s *Service) makeOnce(ctx context.Context, d *deployed, p pendingBuild) (BuildResult, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	upload, err := s.cfg.Blobs.Get(ctx, d.AccountUID, secret.Code, p.version.Package)
	if err != nil {
		return BuildResult{}, err
	}
	c, err := s.open(p.version.Runtime, upload)
	if err != nil {
		return BuildResult{}, err
	}
	if c.files != nil {
		// A sandbox takes the package as it is.
		return BuildResult{Artifact: upload, Model: function.Native}, c.files.Verify()
	}
	src := BuildSource{Module: c.module, Environment: environment(&d.functionRecord, p.version), Limits: p.version.Limits}
	if json.Valid([]byte(p.warmup)) {
		src.Warmup = []byte(p.warmup)
	}
	return s.cfg.Builder.Build(ctx, d.AccountUID, src)
}

// finish writes what became of a build into all records that waited for it:
// versions first, so that the function itself is the last to say so.
func (s *Service) finish(ctx context.Context, uid tenant.UID, end buildEnd) error {
	d, found := s.ix.byUID(uid)
	if !found {
		return nil
	}
	defer s.lock(d.Account)()
	if d, found = s.ix.byUID(uid); !found {
		return nil
	}
	var artifact function.Digest
	if end.failure == nil {
		var err error
		if artifact, err = s.cfg.Blobs.Put(ctx, d.AccountUID, secret.Image, end.made.Artifact); err != nil {
			return err
		}
	}
	settle := func(v *function.Version, update bool) {
		v.RevisionID = uuid.NewString()
		if end.failure != nil {
			fail(v, end.failure, update)
			return
		}
		v.Artifact, v.Model = artifact, end.made.Model
		v.State, v.StateReason, v.StateReasonCode = function.Active, bounded(strings.Join(end.made.Warnings, " ")), ""
		v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = function.UpdateSuccessful, "", ""
	}
	for _, v := range d.versions {
		if r := v.T; r.State == function.Pending && r.Build == end.key {
			settle(&r.Version, false)
			if err := s.save(ctx, v.key, v.rev, r); err != nil {
				return err
			}
		}
	}
	if d, found = s.ix.byUID(uid); !found || d.Build != end.key || !d.waits() {
		return nil
	}
	r := d.functionRecord
	settle(&r.Latest, r.Serving != nil)
	if end.failure == nil {
		r.Serving = nil
	}
	err := s.save(ctx, d.key, d.rev, r)
	if err == nil {
		s.discard(d)
	}
	return err
}

// fail notes on a version that its artefact could not be made. An update that
// fails leaves the version active, as what was there before goes on serving.
func fail(v *function.Version, failure error, update bool) {
	reason, code := "The artefact could not be made: the platform failed. Try again; if it goes on, tell the operator.", internalCode
	var f *fault.Error
	if errors.As(failure, &f) && (f.Kind == fault.Invalid || f.Kind == fault.TooLarge) {
		reason, code = bounded(f.Text()), invalidCode
	}
	if update {
		v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = function.UpdateFailed, reason, code
		return
	}
	v.State, v.StateReason, v.StateReasonCode = function.Failed, reason, code
	v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = function.UpdateFailed, reason, code
}

// bounded makes a text that an untrusted module had a part in short, and fit
// for a terminal.
func bounded(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text[:min(len(text), maxReason)])
}
