//go:build linux

package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/schema"
	"github.com/carrel-dev/carrel/iam/oidc"
	"github.com/carrel-dev/carrel/internal/dial"
	"github.com/carrel-dev/carrel/observe"
	"github.com/carrel-dev/carrel/sandbox/process"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/blob"
	"github.com/carrel-dev/carrel/store/jetstream"
	"github.com/carrel-dev/carrel/store/sealed"
	"github.com/carrel-dev/carrel/tenant"
	"github.com/carrel-dev/carrel/trigger/events"
)

func (n *Node) startSandbox(context.Context) error {
	stored, err := blob.Open(n.folders.blobs, n.keys)
	if err != nil {
		return err
	}
	n.blobs = blobs{of: stored}
	seeds, err := n.keys.MAC(secret.RequestSeeds)
	if err != nil {
		return err
	}
	n.driver = process.New(process.Config{
		Spawner: n.spawner, Journal: n.journal, Host: nodeHost{n}, Log: n.log, Now: time.Now, Region: n.cfg.Region,
		Native: n.native, Fresh: n.cfg.Fresh, WallOf: n.wallOf, Blanks: n.cfg.BlankWorkers, KernelBlanks: n.cfg.BlankKernels, MaxWorkers: n.cfg.MaxWorkers, Idle: n.cfg.IdleWorker,
		Artifact: func(ctx context.Context, account tenant.UID, digest function.Digest) ([]byte, error) {
			return n.blobs.Get(ctx, account, secret.Image, digest)
		},
		Seed: func(requestID string, attempt int) [32]byte {
			var room [64]byte
			return seeds.Sum(binary.AppendUvarint(append(room[:0], requestID...), uint64(attempt)))
		},
	})
	n.blobs.built = n.driver.Prepare
	n.closeDriver = sync.OnceFunc(n.driver.Close)
	n.after(func() error { n.closeDriver(); return nil })
	n.metrics = observe.NewMetrics(n.gauges()...)
	return nil
}

// gauges are the node's own numbers on the operator's listener.
func (n *Node) gauges() []observe.Gauge {
	counts := n.driver.Counters()
	return []observe.Gauge{
		{Name: "carrel_workers", Help: "Worker processes, blank ones included.", Read: func() float64 { return float64(n.driver.Workers()) }},
		{Name: "carrel_workers_blank", Help: "Confined workers that wait for a function.", Read: func() float64 { return float64(n.driver.BlanksReady()) }},
		{Name: "carrel_worker_crashes", Help: "Workers that died with open calls.", Read: func() float64 { return float64(counts.Crashes.Load()) }},
		{Name: "carrel_worker_alarms", Help: "Workers killed because what they sent could not be true.", Read: func() float64 { return float64(counts.Alarms.Load()) }},
		{Name: "carrel_journal_bytes", Help: "Size of the node's journal.", Read: func() float64 { return float64(n.journal.Stats().Bytes) }},
		{Name: "carrel_journal_refused", Help: "Records that the journal did not take.", Read: func() float64 { return float64(n.journal.Stats().Refused) }},
		{Name: "carrel_journal_dropped", Help: "Records nobody waited for that could not be written.", Read: func() float64 { return float64(n.journal.Stats().Dropped) }},
		{Name: "carrel_goroutines", Help: "Goroutines of the node.", Read: func() float64 { return float64(runtime.NumGoroutine()) }},
	}
}

// builder makes artefacts for the control plane.
type builder struct{ of *process.Builder }

// Build implements control.Builder.
func (b builder) Build(ctx context.Context, _ tenant.UID, src control.BuildSource) (control.BuildResult, error) {
	built, err := b.of.Build(ctx, process.Source{
		Module: src.Module, Environment: src.Environment, Limits: src.Limits, Warmup: src.Warmup,
	})
	if err != nil {
		return control.BuildResult{}, err
	}
	return control.BuildResult{Artifact: built.Artifact, Model: built.Model, Warnings: built.Warnings}, nil
}

// dialer makes the node's connections to the outside.
func (n *Node) dialer() *dial.Dialer {
	var allow []netip.Prefix
	for _, text := range n.cfg.DialAllow {
		if p, err := dial.ParseAllowed(text); err == nil { // Validate refuses the rest
			allow = append(allow, p)
		}
	}
	return dial.New(dial.Config{Allow: allow})
}

func (n *Node) openControl(ctx context.Context) error {
	var stores [3]store.KV
	for i, bucket := range []bus.Bucket{bus.Tenants, bus.Identities, bus.Functions} {
		kv, err := jetstream.Open(ctx, n.bus.JetStream(), bucket)
		if err != nil {
			return err
		}
		stores[i], err = sealed.New(kv, sealed.Config{
			Sealer: n.keys, Bucket: string(bucket), Schema: 1,
			Owner: func(k store.Key) (tenant.UID, error) { return control.Owner(k), nil },
		})
		if err != nil {
			return err
		}
	}
	var err error
	n.control, err = control.Open(ctx, control.Config{
		Region: n.cfg.Region, EndpointURL: n.Endpoint, Blobs: n.blobs, Keys: n.keys, Log: n.log,
		Stores:  control.Stores{Tenants: stores[0], Identities: stores[1], Functions: stores[2]},
		Builder: builder{process.NewBuilder(n.driver)}, Journal: n.audit, Native: n.native, MinWall: n.minWall(), WebIdentities: oidc.New(oidc.Config{Fetch: n.dialer(), Now: time.Now}),
	})
	if err != nil {
		return err
	}
	n.after(n.control.Close)
	n.reapBlobs(ctx)
	n.admit = admit.New(n.control.Authority(), n.control.PlanOf, time.Now)
	n.admit.CheckEvents(schema.NewGuard(func(ctx context.Context, owner tenant.UID, digest function.Digest) ([]byte, error) {
		return n.blobs.Get(ctx, owner, secret.Schema, digest)
	}, time.Now))
	return nil
}

// reapAge is how old a blob without a name must be before it is deleted: one
// that is being deployed has none yet.
const reapAge = time.Hour

// reapBlobs deletes blobs that a crash left without a name.
func (n *Node) reapBlobs(ctx context.Context) {
	named, err := n.control.NamedBlobs()
	if err != nil {
		n.log.Error("unnamed blobs are kept, because not every record can be read", "error", err)
		return
	}
	known := func(yield func(blob.Ref) bool) {
		for _, b := range named {
			if ref, err := reference(b.Owner, b.Kind, b.Digest); err == nil && !yield(ref) {
				return
			}
		}
	}
	if count, err := n.blobs.of.Reap(ctx, known, reapAge); err != nil {
		n.log.Error("blobs that a crash left could not be deleted", "error", err)
	} else if count > 0 {
		n.log.Info("blobs that a crash left were deleted", "blobs", count)
	}
}

func (n *Node) openEvents(ctx context.Context) error {
	ended := n.folders.ended
	var err error
	n.events, err = events.Open(ctx, events.Config{
		Journal: n.journal, JetStream: n.bus.JetStream(), Keys: n.keys, Invoke: n.pipeline.Invoke,
		Resolve: func(account tenant.AccountID, name function.Name, qualifier string) (*function.Target, error) {
			return n.control.Resolve(account, name, qualifier, rollEvents())
		},
		EventConfig: n.control.EventConfigOf, PlanOf: n.control.PlanOf, Principal: n.control.Principal,
		Ended: func(id string) (int, bool, call.Result) {
			e, found := ended[id]
			return e.Attempt, found, e.Result
		},
		Now: time.Now, Log: n.log,
	})
	if err != nil {
		return fmt.Errorf("the queue of asynchronous calls: %w", err)
	}
	n.after(n.closeEvents)
	n.pipeline.Queue = n.events
	return nil
}
