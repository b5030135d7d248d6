//go:build linux

// Command bench measures a real node on one machine in one go, beside peers
// that it starts and stops itself, and prints a table of ratios: a number of
// a shared machine means little, the ratio of two numbers of one run more.
//
// It talks to processes of its own over loopback only. A goal that is missed
// is shown, not an error; an error is what could not be measured.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout)) }

// roles are what this binary does as another process of itself: the
// generators of load must not share a scheduler and a heap with what waits
// for them.
var roles = map[string]func(io.Reader, io.Writer) error{
	"load": closedLoop, "open": openLoop, "bare": bareServer, "alone": aloneRole, "fuel": fuelRole,
}

func run(args []string, stdin io.Reader, stdout io.Writer) int {
	if len(args) > 0 && roles[args[0]] != nil {
		if err := roles[args[0]](stdin, stdout); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", args[0], err)
			return 1
		}
		return 0
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.bin, "bin", "bin", "folder with carrel and carrel-worker")
	flags.StringVar(&o.before, "before", "", "folder with an earlier carrel and carrel-worker, which takes part in the warm calls")
	flags.BoolVar(&o.quick, "quick", false, "short rounds and few tenants: to try the bench, not to quote from")
	flags.StringVar(&o.only, "only", "", "measure only these, by name and with commas: "+strings.Join(names(), ", "))
	flags.StringVar(&o.out, "out", "test/bench/results/local-"+time.Now().UTC().Format("2006-01-02")+".json", "file for the results")
	if flags.Parse(args) != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measureAll(ctx, o, stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

type options struct {
	bin    string
	before string
	quick  bool
	only   string
	out    string
}

// parts are what is measured, in this order.
var parts = []struct {
	name, title string
	measure     func(*bench) error
}{
	{"warm", "Warm calls over HTTP, closed loop, all stages on", (*bench).warm},
	{"alone", "Call and restore alone, in one process, without HTTP", (*bench).alone},
	{"fuel", "Guests that compute, with the fuel counter and without", (*bench).fuel},
	{"cold", "First calls of deployed functions, one at a time, a blank worker ready", (*bench).cold},
	{"many", "Many tenants: processor time of node, spawner and workers", (*bench).many},
	{"neighbour", "A victim at 100 calls a second, alone and beside a spinner and a memory hog", (*bench).neighbour},
}

func names() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// bench is one run.
type bench struct {
	ctx     context.Context //lint:allow ctxfield a run of the program is one request
	opts    options
	out     io.Writer
	dir     string
	greeter []byte
	report  Report
}

func measureAll(ctx context.Context, o options, out io.Writer) (err error) {
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	for _, folder := range []string{o.bin, cmp.Or(o.before, o.bin)} {
		for _, b := range []string{"carrel", "carrel-worker"} {
			if _, err := os.Stat(filepath.Join(folder, b)); err != nil {
				return fmt.Errorf("%w: run make build, or name the folder with -bin", err)
			}
		}
	}
	b := &bench{ctx: ctx, opts: o, out: out}
	if b.dir, err = os.MkdirTemp("", "carrel-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := os.Chmod(b.dir, 0o755); err != nil { // a node gives up root
		return err
	}
	if b.greeter, err = b.buildGreeter(); err != nil {
		return err
	}
	b.report.Machine = machine(ctx)
	b.report.Quick = o.quick
	b.report.Begun = time.Now().UTC()
	fmt.Fprintln(out, b.report.Machine)
	if o.quick {
		fmt.Fprintln(out, "Quick: rounds are short, so the numbers are rough.")
	}
	for _, p := range parts {
		if !slices.Contains(chosen, p.name) {
			continue
		}
		fmt.Fprintf(out, "\n%s (%s)\n", p.title, p.name)
		if err := p.measure(b); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.report.Seconds = time.Since(b.report.Begun).Seconds()
	b.report.goals(out)
	return b.save()
}

func choose(only string) ([]string, error) {
	if only == "" {
		return names(), nil
	}
	chosen := strings.Split(only, ",")
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("there is no measurement %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	return chosen, nil
}

func (b *bench) save() error {
	text, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.opts.out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.opts.out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nSaved in %s after %.0f s.\n", b.opts.out, b.report.Seconds)
	return nil
}

// pick gives the first value in a whole run and the second in a quick one.
func pick[T any](b *bench, whole, quick T) T {
	if b.opts.quick {
		return quick
	}
	return whole
}
