package wasm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carrel-dev/carrel/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The core specification's own tests, as lists of commands made by wast2json.
type specCommand struct {
	Type       string      `json:"type"`
	Line       int         `json:"line"`
	Name       string      `json:"name"`
	Filename   string      `json:"filename"`
	As         string      `json:"as"`
	Text       string      `json:"text"`
	ModuleType string      `json:"module_type"`
	Expected   []specValue `json:"expected"`
	Action     struct {
		Type   string      `json:"type"`
		Module string      `json:"module"`
		Field  string      `json:"field"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

type specValue struct {
	Type     string          `json:"type"`
	LaneType string          `json:"lane_type"`
	Value    json.RawMessage `json:"value"`
}

// word is an expected number: its bits, or a class of NaN.
type word struct {
	bits uint64
	nan  string
	size int
}

func parseWord(text, kind string) (word, error) {
	size, err := strconv.Atoi(strings.TrimLeft(kind, "if"))
	w := word{size: size}
	if strings.HasPrefix(text, "nan:") {
		w.nan = text
		return w, err
	}
	if err == nil {
		w.bits, err = strconv.ParseUint(text, 10, size)
	}
	return w, err
}

// words gives a value as the numbers it consists of.
func (v specValue) words() ([]word, error) {
	if v.Type == "v128" {
		var lanes []string
		if err := json.Unmarshal(v.Value, &lanes); err != nil {
			return nil, err
		}
		var list []word
		for _, l := range lanes {
			w, err := parseWord(l, v.LaneType)
			if err != nil {
				return nil, err
			}
			list = append(list, w)
		}
		return list, nil
	}
	var text string
	if err := json.Unmarshal(v.Value, &text); err != nil {
		return nil, err
	}
	if v.Type == "externref" || v.Type == "funcref" {
		if text == "null" {
			return []word{{size: 64}}, nil
		}
		n, err := strconv.ParseUint(text, 10, 63)
		return []word{{bits: n + 1, size: 64}}, err // 0 is null to the engine
	}
	w, err := parseWord(text, v.Type)
	return []word{w}, err
}

// slots packs words into the engine's 64-bit stack slots.
func slots(words []word) []uint64 {
	if len(words) == 1 {
		return []uint64{words[0].bits}
	}
	out := make([]uint64, 2)
	for i, w := range words {
		out[i*w.size/64] |= w.bits << (i * w.size % 64)
	}
	return out
}

func (w word) matches(got uint64) bool {
	mask := ^uint64(0) >> (64 - w.size)
	got &= mask
	if w.nan == "" {
		return got == w.bits
	}
	quiet, sign := uint64(0x7fc00000), uint64(1)<<31
	if w.size == 64 {
		quiet, sign = 0x7ff8000000000000, 1<<63
	}
	if w.nan == "nan:canonical" {
		return got&^sign == quiet
	}
	return got&quiet == quiet
}

func matchAll(expected []specValue, got []uint64) error {
	for _, e := range expected {
		words, err := e.words()
		if err != nil {
			return err
		}
		n := 1
		if e.Type == "v128" {
			n = 2
		}
		if len(got) < n {
			return fmt.Errorf("too few results")
		}
		for i, w := range words {
			if v := got[i*w.size/64] >> (i * w.size % 64); !w.matches(v) {
				return fmt.Errorf("%s of %s: lane %d is %#x", e.Value, e.Type, i, v)
			}
		}
		got = got[n:]
	}
	if len(got) > 0 {
		return fmt.Errorf("too many results")
	}
	return nil
}

// traps gives the engine's words for the specification's.
var traps = map[string]string{
	"out of bounds memory access":   "out of bounds memory access",
	"indirect call type mismatch":   "indirect call type mismatch",
	"indirect call":                 "indirect call type mismatch",
	"undefined element":             "invalid table access",
	"undefined":                     "invalid table access",
	"out of bounds table access":    "invalid table access",
	"integer overflow":              "integer overflow",
	"invalid conversion to integer": "invalid conversion to integer",
	"integer divide by zero":        "integer divide by zero",
	"unreachable":                   "unreachable",
}

// specRun runs one list of commands with every module instrumented.
type specRun struct {
	t        *testing.T
	dir      string
	strict   bool
	runtime  wazero.Runtime
	modules  map[string]api.Module
	last     api.Module
	asserted *atomic.Int64
}

func (s *specRun) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// instantiate instruments a module and instantiates it.
func (s *specRun) instantiate(b []byte, name string) (api.Module, error) {
	m, err := parseAndValidate(b)
	if err != nil {
		return nil, err
	}
	i, err := wasm.Instrument(m, wasm.Options{})
	if err != nil {
		return nil, err
	}
	return s.runtime.InstantiateWithConfig(context.Background(), i.Module.Encode(), wazero.NewModuleConfig().WithName(name))
}

func (s *specRun) act(c *specCommand) ([]uint64, error) {
	m := s.last
	if c.Action.Module != "" {
		m = s.modules[c.Action.Module]
	}
	if c.Action.Type == "get" {
		return []uint64{m.ExportedGlobal(c.Action.Field).Get()}, nil
	}
	var args []uint64
	for _, a := range c.Action.Args {
		w, err := a.words()
		if err != nil {
			s.t.Fatal(err)
		}
		args = append(args, slots(w)...)
	}
	return m.ExportedFunction(c.Action.Field).Call(context.Background(), args...)
}

func (s *specRun) trapped(c *specCommand, want string) error {
	_, err := s.act(c)
	if strings.HasPrefix(c.Text, "uninitialized") {
		want = "invalid table access"
	}
	if err == nil || want == "" || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("%s: trap %q expected (%s), got %v", c.Action.Field, want, c.Text, err)
	}
	return nil
}

func (s *specRun) command(c *specCommand, next *specCommand) error {
	s.asserted.Add(1)
	switch c.Type {
	case "module":
		name := ""
		if next != nil && next.Type == "register" {
			name = next.As
		}
		m, err := s.instantiate(s.read(c.Filename), name)
		s.last = m
		if c.Name != "" {
			s.modules[c.Name] = m
		}
		return err
	case "assert_return", "action":
		got, err := s.act(c)
		if err == nil && c.Type == "assert_return" {
			err = matchAll(c.Expected, got)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.Action.Field, err)
		}
	case "assert_trap":
		return s.trapped(c, traps[c.Text])
	case "assert_exhaustion":
		return s.trapped(c, "stack overflow")
	case "assert_malformed", "assert_invalid":
		if c.ModuleType == "text" || !s.strict {
			return nil
		}
		if _, err := parseAndValidate(s.read(c.Filename)); err == nil {
			return fmt.Errorf("%s was accepted, and is %s", c.Filename, c.Text)
		}
	case "assert_unlinkable", "assert_uninstantiable":
		// The engine lets an instance whose active element segment is too
		// long live, so that functions already in another's table can run.
		if c.ModuleType == "text" || c.Text == "out of bounds table access" {
			_, err := s.instantiate(s.read(c.Filename), "")
			return err
		}
		if _, err := s.instantiate(s.read(c.Filename), ""); err == nil {
			return fmt.Errorf("%s was instantiated, and should fail: %s", c.Filename, c.Text)
		}
	case "register":
	default:
		return fmt.Errorf("unknown command %s", c.Type)
	}
	return nil
}

// hostYield provides carrel.yield, which gives every caller a little fuel, so
// that most tests run through it, and counts how often it was asked.
func hostYield(t testing.TB, r wazero.Runtime, yields *atomic.Int64) {
	t.Helper()
	_, err := r.NewHostModuleBuilder(wasm.ReservedModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
			yields.Add(1)
			m.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal).Set(uint64(yields.Load() % 64))
		}), nil, nil).Export(wasm.YieldImport).Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
}

// TestSpecification runs the specification's tests on instrumented modules:
// they behave as the specification says, so the same as without.
func TestSpecification(t *testing.T) {
	var asserted, yields atomic.Int64
	t.Run("group", func(t *testing.T) {
		for _, version := range []string{"v1", "v2"} {
			dir := filepath.Join(wazeroSources(t), "internal/integration_test/spectest", version, "testdata")
			lists, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil || len(lists) < 70 {
				t.Fatalf("%d lists of commands in %s: %v", len(lists), dir, err)
			}
			for _, list := range lists {
				t.Run(version+"/"+strings.TrimSuffix(filepath.Base(list), ".json"), func(t *testing.T) {
					t.Parallel()
					runSpec(t, list, version == "v2", &asserted, &yields)
				})
			}
		}
	})
	t.Logf("%d commands, %d yields", asserted.Load(), yields.Load())
	if asserted.Load() < 40_000 || yields.Load() < 1_000 {
		t.Errorf("only %d commands and %d yields", asserted.Load(), yields.Load())
	}
}

func runSpec(t *testing.T, list string, strict bool, asserted, yields *atomic.Int64) {
	raw, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var script struct {
		Commands []specCommand `json:"commands"`
	}
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	// What instantiation does with segments that do not fit depends on the version.
	features := api.CoreFeatures(api.CoreFeaturesV1)
	if strict {
		features = api.CoreFeaturesV2
	}
	r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfig().WithCoreFeatures(features))
	defer r.Close(context.Background())
	hostYield(t, r, yields)
	s := &specRun{t: t, dir: filepath.Dir(list), strict: strict, runtime: r, modules: map[string]api.Module{}, asserted: asserted}
	spectest, err := os.ReadFile(filepath.Join(wazeroSources(t), "internal/integration_test/spectest/testdata/spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.instantiate(spectest, "spectest"); err != nil {
		t.Fatal(err)
	}
	for i := range script.Commands {
		c := &script.Commands[i]
		var next *specCommand
		if i+1 < len(script.Commands) {
			next = &script.Commands[i+1]
		}
		if err := s.command(c, next); err != nil {
			t.Errorf("line %d, %s %s: %v", c.Line, c.Type, c.Filename, err)
			if c.Type == "module" {
				return
			}
		}
	}
}
