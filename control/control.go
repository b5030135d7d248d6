// Package control holds the desired state: tenants, their keys, and the
// functions they deployed.
//
// All of it is in memory, so a request never waits for the store; the store
// is written through and watched. Every change is a compare-and-set on the
// revision the change is based on. Every method that reads or changes a
// tenant's state takes an iam.Grant and checks that it is for exactly this
// action and resource; changes are told to the Journal before they are made.
//
// # What a crash leaves
//
// One record's write is the moment at which a change has happened. A tenant
// is its tenant record: keys, user and role are written before it and are
// swept up at the next start if it never came. (If it came and the answer got
// lost, the tenant exists and nobody has its key: delete it.) A function is its function
// record: it is written before the versions that hang on it and removed
// before them, and what hangs on nothing is swept up at the next start. A
// version's number is taken in the function record before the version is
// written, so it is never given twice; a crash in between leaves a gap.
// Packages are stored before the record that names them; those that no record
// names are swept up too. A version that is Pending, and an update that is in
// progress, are built again.
//
// # What was asked for and what runs
//
// An update of $LATEST whose artefact has to be made leaves the old one
// serving until the new one is ready, and for good if it cannot be made:
// configuration reads show what was asked for, with LastUpdateStatus.
//
// # Warm-up
//
// The tag carrel:warmup of a function holds a JSON event, at most 256
// characters as any tag's value. When an artefact is made of a reactor, the
// module handles this event once before its image is taken, so that lazy
// set-up is not repeated in every call. Setting the tag takes effect with the
// next update of code or configuration, as that makes the artefact.
//
// # Fuel
//
// The tag carrel:fuel of a function is the most units of fuel that one call
// may use, a whole number. It takes effect at once, for every version; without
// it a call is bounded by its timeout alone.
//
// # Strategy
//
// The tag carrel:strategy of a function that serves end tenants is namespace,
// function or account: whose function and role serves each of them. It takes
// effect with the next call of each; calls that run finish as they began. Data
// stays where it is.
//
// # Where this differs from Lambda
//
// MemorySize goes up to 4096 (the address space of wasm); Handler may be left
// out; environment variables beginning with AWS_, LAMBDA_ or CARREL_ are
// refused, all of them; destinations of asynchronous calls are refused; a
// tenth of an account's concurrency, at most 100, cannot be reserved; an
// account makes at most DefaultActsPerSecond changes a second and has at most
// MaxFunctions functions. UpdateFunctionCode and UpdateFunctionConfiguration
// need iam:PassRole on the role that the function has, and a version keeps the
// role it was given: one that is made anew under the name is not its role.
//
// # Where this differs from IAM
//
// The tag tenant_id is the platform's and is refused wherever tags are set. A
// trust policy or a permission that names a user or role of another account
// before it exists is taken, and never means it: whether it exists is not told.
// A user that gets another name or path is not trusted under the old one. When
// a key was used last is known since the node's start only. There are no
// account aliases, passwords, MFA devices, certificates, SAML providers and
// instance profiles.
//
// If the stores are corrupted: records that do not open are refused at the
// start (sealed values that were moved or rolled back are found by the seal),
// and nobody gains access by it; records that are gone are gone.
package control

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// Config says what a Service works with. All fields are needed, but for
// Native, ActsPerSecond, WebIdentities, Log and Now.
type Config struct {
	// Region is the installation's only region.
	Region string
	// EndpointURL gives the address that clients reach this installation at.
	EndpointURL func() string
	Stores      Stores
	Blobs       Blobs
	Keys        *secret.Keeper
	Builder     Builder
	Journal     Journal
	// Native is what the node has for native functions; nil if it has no wall
	// for them.
	Native *native.Host
	// MinWall is the weakest wall that the node runs calls behind; process if it
	// is none.
	MinWall isolation.Wall
	// ActsPerSecond is how many changes an account may make, averaged; zero
	// means DefaultActsPerSecond. The operators' own account has no bound.
	ActsPerSecond int
	// WebIdentities verifies tokens of identity providers; nil for a node that
	// takes none.
	WebIdentities WebIdentities
	// Log gets what goes wrong in the background; nil drops it.
	Log *slog.Logger
	// Now is the clock of what is recorded; time.Now if nil.
	Now func() time.Time
}

// Stores are where records are kept. The values are sealed by whoever gives
// the stores, under the keys that Owner names.
type Stores struct {
	Tenants    store.KV
	Identities store.KV
	Functions  store.KV
}

// Blobs keep packages and artefacts, sealed for their owner. Digests are of
// the content as it was put.
type Blobs interface {
	Put(ctx context.Context, owner tenant.UID, kind secret.Kind, content []byte) (function.Digest, error)
	Get(ctx context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) ([]byte, error)
	Delete(ctx context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) error
}

// Builder makes what a worker loads of a module, in a confined process.
type Builder interface {
	// Build gives an error of kind fault.Invalid, with the text for the
	// function's StateReason, where the module is at fault; any other error is
	// the platform's and the build is tried again.
	Build(ctx context.Context, owner tenant.UID, src BuildSource) (BuildResult, error)
}

// BuildSource is what an artefact is made of, and nothing else may have a
// part in it.
type BuildSource struct {
	Module []byte
	// Environment is declared variables and Lambda's that are equal for all
	// versions of a build, as KEY=VALUE, sorted.
	Environment []string
	Limits      function.Limits
	// Warmup is the event of the tag carrel:warmup; nil if there is none.
	Warmup []byte
}

// BuildResult is what was made.
type BuildResult struct {
	Artifact []byte
	Model    function.Model
	// Warnings are for the author; they show as the StateReason.
	Warnings []string
}

// Journal is the record of control acts.
type Journal interface {
	// Decide returns when the decision is on disk. The act's outcome is told
	// to done, once. An error means that the act must not be done.
	Decide(ctx context.Context, g iam.Grant, requestID string) (done func(err error), err error)
	// Refuse records that a request was refused, and why.
	Refuse(ctx context.Context, r iam.Request, requestID string, err error)
}

// Service is the control plane. It is safe for concurrent use.
type Service struct {
	cfg        Config
	ix         *index
	authority  *iam.Authority
	management tenant.AccountID
	admin      Credentials
	locks      sync.Map // tenant.AccountID -> *sync.Mutex
	rates      sync.Map // tenant.AccountID -> *rate.Limiter
	// sharedPolicies is held by who attaches a policy of the management account
	// in another one, and by who deletes one.
	sharedPolicies sync.RWMutex
	uses           keyUses
	compiler       *directory.Compiler
	proofs         proofTime
	levels         levelMaker
	overview       *overview
	prover         *prove.Prover
	tokens         *token.Ring
	opened         *openedTokens
	live           func(requestID string) bool
	// strategy stands in for strategyOf where it is set: tests do.
	strategy   func(*call.Call) isolation.Strategy
	issues     sync.Map // tenant.AccountID -> *rate.Limiter, of sessions
	builds     *builds
	garbage    garbage
	gate       *gate
	tenants    *store.Snapshot[any]
	identities *store.Snapshot[any]
	functions  *store.Snapshot[any]

	ctx    context.Context // the life of the background work
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Open loads everything, finishes what a crash left, makes the management
// account on the first start, and begins to follow the stores and to build
// what is pending.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	const op = "control.Open"
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ActsPerSecond <= 0 {
		cfg.ActsPerSecond = DefaultActsPerSecond
	}
	if cfg.EndpointURL == nil || cfg.Stores.Tenants == nil || cfg.Stores.Identities == nil || cfg.Stores.Functions == nil ||
		cfg.Blobs == nil || cfg.Keys == nil || cfg.Builder == nil || cfg.Journal == nil {
		return nil, fault.New(op, fault.Invalid, "a part of the configuration is missing")
	}
	if _, err := function.ParseRegion(cfg.Region); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the region is malformed")
	}
	mac, err := cfg.Keys.MAC(secret.Tokens)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, ix: newIndex(), compiler: directory.NewCompiler(), opened: newOpenedTokens(), tokens: token.NewRing(mac, cfg.Now), prover: prove.New()}
	// The snapshots are confirmed by that clock.
	s.authority = iam.New(iam.Config{Snapshot: s, Directory: s, Region: cfg.Region, Now: time.Now, Explained: s.explain, MinWall: cfg.MinWall})
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.builds, s.gate, s.overview = newBuilds(s), newGate(s), newOverview(s)
	err = s.load(ctx)
	if err == nil {
		_, err = s.gate.settle(ctx)
	}
	if err == nil {
		err = s.repair(ctx)
	}
	if err == nil {
		err = s.ensureManagement(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, d := range s.ix.unfinished() {
		s.builds.add(d.Account, d.UID)
	}
	s.wg.Go(s.collect)
	s.wg.Go(s.gate.rollForward)
	return s, nil
}

// load reads the stores into the index and begins to follow them.
func (s *Service) load(ctx context.Context) error {
	s.ix.loading = true
	for _, part := range []struct {
		kv store.KV
		to **store.Snapshot[any]
	}{
		{s.cfg.Stores.Tenants, &s.tenants}, {s.cfg.Stores.Identities, &s.identities}, {s.cfg.Stores.Functions, &s.functions},
	} {
		snapshot, err := store.Load(ctx, part.kv, store.Key{}, store.Options[any]{
			Decode: decodeFor, OnChange: s.ix.apply, Log: s.cfg.Log,
		})
		if err != nil {
			return fault.Wrap("control.load", fault.Unavailable, err, "the stored state cannot be read")
		}
		*part.to = snapshot
	}
	s.ix.loaded()
	return nil
}

// repair removes what hangs on nothing.
func (s *Service) repair(ctx context.Context) error {
	for k, rev := range s.ix.orphans() {
		if err := s.remove(ctx, k, rev); err != nil && !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return nil
}

// Close ends the background work. Acts in progress are not waited for.
func (s *Service) Close() error {
	s.cancel()
	s.builds.close()
	s.wg.Wait()
	for _, snapshot := range []*store.Snapshot[any]{s.tenants, s.identities, s.functions} {
		if snapshot != nil {
			snapshot.Close()
		}
	}
	return nil
}

// Authority is the one that decides against this state.
func (s *Service) Authority() *iam.Authority { return s.authority }

// lock serialises the control acts of an account on this node; acts of other
// nodes are found out by the revision. Accounts share no lock, so a slow
// upload of one keeps no other waiting.
func (s *Service) lock(account tenant.AccountID) (unlock func()) {
	m, found := s.locks.Load(account)
	if !found {
		m, _ = s.locks.LoadOrStore(account, &sync.Mutex{})
	}
	m.(*sync.Mutex).Lock()
	return m.(*sync.Mutex).Unlock
}

// storeOf gives the store that a key's record is in, and its snapshot.
func (s *Service) storeOf(k store.Key) (store.KV, *store.Snapshot[any]) {
	switch familyOf(k) {
	case tenantFamily, endTenantFamily:
		return s.cfg.Stores.Tenants, s.tenants
	case userFamily, groupFamily, roleFamily, policyFamily, keyFamily, providerFamily,
		generationFamily, unitFamily, guardrailFamily, placementFamily, acceptedFamily, layoutFamily, shareFamily, revokedFamily, linkFamily:
		return s.cfg.Stores.Identities, s.identities
	case functionFamily, versionFamily, aliasFamily, eventFamily, urlFamily, permissionFamily:
	}
	return s.cfg.Stores.Functions, s.functions
}

// save writes a record whose last revision is the given one, zero for a new
// record, and returns when this node's readers see it.
func (s *Service) save(ctx context.Context, k store.Key, last store.Revision, record any) error {
	value, err := encode(record)
	if err != nil {
		return err
	}
	kv, snapshot := s.storeOf(k)
	var rev store.Revision
	if last == 0 {
		rev, err = kv.Create(ctx, k, value)
	} else {
		rev, err = kv.Update(ctx, k, value, last)
	}
	if err == nil {
		err = snapshot.Wait(ctx, rev)
	}
	return written(err)
}

// remove deletes a record whose last revision is the given one.
func (s *Service) remove(ctx context.Context, k store.Key, last store.Revision) error {
	kv, snapshot := s.storeOf(k)
	rev, err := kv.Delete(ctx, k, last)
	if err == nil {
		err = snapshot.Wait(ctx, rev)
	}
	return written(err)
}

// written gives the error of a write its meaning for clients.
func written(err error) error {
	const op = "control.save"
	if err == nil {
		return nil
	}
	switch fault.KindOf(err) {
	case fault.Precondition, fault.Conflict:
		return fault.Wrap(op, fault.Conflict, err, "The resource was changed by another request at the same time.").
			WithCode("ResourceConflictException").WithRemedy("Try again.")
	case fault.Timeout, fault.Unavailable:
		return fault.Wrap(op, fault.Unavailable, err, "The change could not be stored in time; it may take effect nevertheless.").
			WithCode("ServiceException").WithRemedy("Look at the resource and try again.")
	default:
		return fault.Wrap(op, fault.Internal, err, "the change could not be stored")
	}
}

type requestIDKey struct{}

// WithRequestID gives a context under which acts are journaled with this
// request id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// requestID gives the id of the request; a new one for acts of no request.
func requestID(ctx context.Context) string {
	if id, ok := ctx.Value(requestIDKey{}).(string); ok && id != "" {
		return id
	}
	return uuid.NewString()
}

// errClosed is the cause of errors after Close.
var errClosed = errors.New("the control plane is closed")

// wait gives false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
