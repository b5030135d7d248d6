//go:build linux

package process

import (
	"context"
	"io"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/sandbox/jail/spawner"
	"github.com/carrel-dev/carrel/worker/wire"
)

// Source is a module to be built.
type Source struct {
	Module      []byte
	Environment []string
	Limits      function.Limits
	// Warmup is the event of a declared warm-up call; nil if none is.
	Warmup []byte
}

// Built is an artefact with what was found about it.
type Built struct {
	Artifact []byte
	Model    function.Model
	Warnings []string
}

// The bounds of one build: a compile bomb meets them in its own process.
const (
	buildTimeout = 60 * time.Second
	buildMemory  = 4 << 30
	// buildsAtOnce keeps compilers from taking the machine from calls.
	buildsAtOnce = 2
)

// Builder builds artefacts, each in a confined process of its own that is
// used once.
type Builder struct {
	driver *Driver
	slots  chan struct{}
}

// NewBuilder makes a Builder that uses the driver's spawner.
func NewBuilder(d *Driver) *Builder {
	return &Builder{driver: d, slots: make(chan struct{}, buildsAtOnce)}
}

// Build checks, instruments, compiles and initialises a module.
//
// Errors: fault.Invalid with a text for the function's StateReason if the
// module is to blame, fault.Timeout if it took too long.
func (b *Builder) Build(ctx context.Context, src Source) (*Built, error) {
	const op = "process.Build"
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return nil, fault.Wrap(op, fault.Timeout, ctx.Err(), "the build was given up while it waited for its turn")
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	proc, err := b.driver.cfg.Spawner.Spawn(ctx, spawner.Compile, spawner.Limits{MemoryBytes: buildMemory, PIDs: 64, CPUWeight: heavyWeight})
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "no process could be made to build the module in")
	}
	defer end(proc)
	stop := context.AfterFunc(ctx, func() { proc.Kill() })
	defer stop()
	built, err := b.talk(proc, src)
	if err == nil {
		return built, nil
	}
	if fault.Is(err, fault.Invalid) {
		return nil, err
	}
	exit := end(proc)
	switch {
	case ctx.Err() != nil:
		return nil, fault.New(op, fault.Invalid, "the module took longer than %s to compile and initialise", buildTimeout).
			WithRemedy("Make it smaller, or do less in its initialisation.")
	case exit.OOMKilled:
		return nil, fault.New(op, fault.Invalid, "compiling and initialising the module took more than %d MiB of memory", buildMemory>>20)
	}
	return nil, fault.Wrap(op, fault.Invalid, err, "the build process died on this module (%s)", exitText(exit))
}

func (b *Builder) talk(proc *spawner.Process, src Source) (*Built, error) {
	const op = "process.Build"
	blank, err := newBlank(proc, b.driver)
	if err != nil {
		return nil, err
	}
	frame := wire.AppendBuild(nil, &wire.BuildBody{
		Module: src.Module, Env: src.Environment, MemoryLimit: uint64(src.Limits.MemoryMB) << 20, Warmup: src.Warmup,
	})
	if _, err := blank.conn.Write(frame); err != nil {
		return nil, err
	}
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(blank.conn, head[:]); err != nil {
		return nil, err
	}
	h, err := wire.ParseHeader(head[:], wire.MaxFromBuilder)
	if err != nil || h.Type != wire.Built {
		return nil, fault.Wrap(op, fault.Internal, err, "the build process broke the protocol")
	}
	body := make([]byte, h.Len)
	if _, err := io.ReadFull(blank.conn, body); err != nil {
		return nil, err
	}
	v, err := wire.ParseBuilt(body)
	if err != nil {
		return nil, err
	}
	if v.Failure != "" {
		return nil, fault.New(op, fault.Invalid, "%.2000s", v.Failure)
	}
	model := function.Model(v.Model)
	if model != function.Reactor && model != function.Command {
		return nil, fault.New(op, fault.Internal, "the build process reported model %.20q", v.Model)
	}
	return &Built{Artifact: v.Artifact, Model: model, Warnings: v.Warnings}, nil
}
