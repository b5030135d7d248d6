//go:build linux

// Package server puts a node together: it is the only place that knows all
// the parts. Commands and tests start a node through it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/config"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function/native"
	"github.com/carrel-dev/carrel/host"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/invoke"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/meter"
	"github.com/carrel-dev/carrel/observe"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/sandbox/process"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/trigger/events"
)

// Node is a running node.
type Node struct {
	cfg     config.Config
	log     *slog.Logger
	started time.Time

	folders *folders
	spawner *spawner.Client
	// native is what the host has for native functions.
	native   *native.Host
	keys     *secret.Keeper
	journal  *journal.Journal
	bus      *bus.Bus
	blobs    blobs
	control  *control.Service
	audit    *audit.Log
	ledger   *meter.Ledger
	logs     *logs.Store
	driver   *process.Driver
	admit    *admit.Controller
	events   *events.Queue
	pipeline *invoke.Pipeline
	host     *host.Service
	metrics  *observe.Metrics

	listener net.Listener
	http     *http.Server
	operator *http.Server
	failed   chan error
	ready    atomic.Bool
	// drain ends when a stopping node gives up what still runs.
	drain context.Context
	// closeDriver kills all workers, once.
	closeDriver func()
	// close undoes what was started, newest first.
	close []func() error
}

// Start starts a node: the spawner first, because making processes is cheap
// only while this one is small; then, as an unprivileged user, everything
// else. It returns once the node takes requests.
func Start(ctx context.Context, cfg config.Config, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: log, started: time.Now(), failed: make(chan error, 4), drain: context.Background()}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"prepare the data folder", n.openFolders},
		{"start the spawner", n.startSpawner},
		{"listen", n.listen},
		{"give up root", n.dropPrivileges},
		{"open the keys", n.openKeys},
		{"open the journal", n.openJournal},
		{"start the message store", n.startBus},
		{"start the sandbox", n.startSandbox},
		{"load the control state", n.openControl},
		{"rebuild usage from the journal", n.recoverUsage},
		{"open the asynchronous queue", n.openEvents},
		{"write the operator's file", n.writeOperatorFile},
		{"serve", n.serve},
	} {
		if err := step.do(ctx); err != nil {
			err = fmt.Errorf("%s: %w", step.what, err)
			return nil, errors.Join(err, n.Close(context.Background()))
		}
	}
	n.ready.Store(true)
	return n, nil
}

// after registers what undoes a step.
func (n *Node) after(undo func() error) { n.close = append(n.close, undo) }

// Close drains the node and stops it: requests that were accepted are
// answered, for as long as the drain timeout or ctx allows.
func (n *Node) Close(ctx context.Context) error {
	n.ready.Store(false)
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	n.drain = ctx
	var errs []error
	for _, s := range []*http.Server{n.http, n.operator} {
		if s == nil {
			continue
		}
		if err := s.Shutdown(ctx); err != nil {
			// Closed at the end: calls that are given up below are answered.
			defer s.Close()
			errs = append(errs, fmt.Errorf("requests were still open when the drain timeout of %s ended: %w", n.cfg.DrainTimeout, err))
		}
	}
	for i := len(n.close) - 1; i >= 0; i-- {
		errs = append(errs, n.close[i]())
	}
	n.close = nil
	return errors.Join(errs...)
}

// Wait returns when ctx ends, with nil, or when the node cannot go on.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	case <-n.spawner.Done():
		return errors.New("the spawner process is gone; without it no function can run")
	}
}

// Endpoint is the URL that clients reach the node at.
func (n *Node) Endpoint() string {
	scheme := "http"
	if n.cfg.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(n.listener.Addr().String())
	if err != nil {
		return scheme + "://" + n.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// OperatorFile is the path of the file with the operator's credentials.
func (n *Node) OperatorFile() string { return n.folders.operatorFile }

// notReady says why the node cannot take requests; empty if it can.
func (n *Node) notReady() string {
	switch {
	case !n.ready.Load():
		return "starting or stopping"
	case n.journal.Err() != nil:
		return "the journal cannot be written: " + n.journal.Err().Error()
	case time.Since(n.control.Confirmed()) > 5*time.Second:
		return "the control state could not be confirmed for 5 s"
	}
	return ""
}

func (n *Node) startSpawner(context.Context) error {
	binary, err := workerBinary(n.cfg.WorkerBinary)
	if err != nil {
		return err
	}
	server := spawner.DefaultServerConfig()
	server.Node = n.folders.nodeName
	server.Slots = uint32(n.cfg.MaxWorkers + 8) // builds and workers that are on their way out need some
	server.BaseUID = uint32(n.cfg.UserID) + 1
	if server.Kernel, err = kernelConfig(n.cfg); err != nil {
		return err
	}
	n.native = &native.Host{}
	if server.Kernel != nil {
		n.native, server.Kernel.Mounts = findInterpreters(n.log)
	}
	n.spawner, err = spawner.Start(spawner.Config{Binary: binary, Server: server, Log: os.Stderr})
	if err != nil {
		return err
	}
	n.after(n.spawner.Close)
	if ok, reason := n.wallKernel(); n.minWall() == isolation.Kernel && !ok {
		return fmt.Errorf("--min-wall kernel: %s", reason)
	}
	n.walled()
	return nil
}

func (n *Node) openJournal(context.Context) error {
	sealer, err := n.keys.NodeSealer(secret.Journal)
	if err != nil {
		return err
	}
	sync := journal.SyncBackground
	if n.cfg.JournalSync == "always" {
		sync = journal.SyncAlways
	}
	n.journal, err = journal.Open(n.folders.journal, journal.Config{Node: n.folders.nodeName, Sync: sync, Sealer: sealer, Reserve: journalReserve})
	if err != nil {
		return err
	}
	n.after(n.journal.Close)
	n.audit = audit.New(n.journal, time.Now)
	n.after(func() error { n.audit.Flush(); return nil })
	n.ledger = meter.NewLedger(n.journal)
	n.logs, err = logs.Open(logs.Config{Folder: n.folders.logs, Keys: n.keys, Log: n.log})
	if err == nil {
		n.after(n.logs.Close)
	}
	return err
}

// journalReserve is disk space that the journal leaves for others.
const journalReserve = 64 << 20

func (n *Node) startBus(ctx context.Context) error {
	var err error
	n.bus, err = bus.Start(bus.Config{StoreDir: n.folders.busPath, Log: n.log})
	if err != nil {
		return err
	}
	n.after(func() error { n.bus.Close(); return nil })
	return n.bus.Ensure(ctx)
}

func (n *Node) recoverUsage(context.Context) error {
	found, err := invoke.Recover(n.ledger, n.journal)
	if err != nil {
		return err
	}
	n.pipeline = &invoke.Pipeline{
		Place:     n.control.Place,
		Authority: n.control.Authority(), Admission: n.admit, Sandbox: n.driver,
		Audit: n.audit, Ledger: n.ledger, Logs: n.logs, Counter: n.metrics, Now: time.Now,
	}
	n.openHost()
	if found.Lost > 0 {
		n.log.Warn("calls were running when the node stopped; each was recorded as failed", "calls", found.Lost)
	}
	n.folders.ended = found.Ended
	return nil
}
