//go:build linux

package worker

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/sandbox/jail"
	"github.com/carrel-dev/carrel/sandbox/wasm"
	"github.com/carrel-dev/carrel/worker/wire"
)

// Compile confines this process, builds one artefact, and ends.
func Compile() error {
	report, err := jail.Enter(jail.Compile())
	if err != nil {
		return err
	}
	out := wire.AppendReady(nil, wire.ReadyBody{Version: wire.Version, Landlock: uint32(report.Landlock)})
	if err := writeAll(out); err != nil {
		return err
	}
	var head [wire.HeaderSize]byte
	if err := readFull(head[:]); err != nil {
		return err
	}
	h, err := wire.ParseHeader(head[:], wire.MaxToProcess)
	if err != nil {
		return err
	}
	if h.Type != wire.Build {
		return fmt.Errorf("%w: type %d, want a build", wire.ErrFrame, h.Type)
	}
	body := make([]byte, h.Len)
	if err := readFull(body); err != nil {
		return err
	}
	source, err := wire.ParseBuild(body)
	if err != nil {
		return err
	}
	// The module's own initialisation runs here, so this process too gives up
	// what only its start needed.
	if err := jail.LockDown(jail.Compile()); err != nil {
		return err
	}
	return writeAll(wire.AppendBuilt(nil, build(source)))
}

func build(s *wire.BuildBody) *wire.BuiltBody {
	artifact, err := wasm.Build(context.Background(), wasm.Source{
		Module: s.Module, Env: s.Env, MemoryLimit: s.MemoryLimit, Warmup: s.Warmup,
	})
	if err != nil {
		return &wire.BuiltBody{Failure: fault.From("worker.build", err).Text()}
	}
	b, err := artifact.MarshalBinary()
	if err != nil {
		return &wire.BuiltBody{Failure: err.Error()}
	}
	return &wire.BuiltBody{Model: string(artifact.Meta.Model), Artifact: b}
}

func readFull(b []byte) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Read(Socket, b) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}

func writeAll(b []byte) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(Socket, b) })
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
