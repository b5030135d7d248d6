package control

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/carrel-dev/carrel/bus"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/testrounds"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/jetstream"
)

// modelled is what a function should be.
type modelled struct {
	code, description string
	timeout           int
	published         map[int]string // number -> code
	next              int
	last              string // what was published last, to know it again
	aliases           map[string]string
	tags              map[string]string
	reserved          int // -1 if none
}

func (m *modelled) content() string { return fmt.Sprint(m.code, "/", m.timeout, "/", m.description) }

// history is one random run: two tenants that use the same names.
type history struct {
	t      *testing.T
	r      *rand.Rand
	w      *world
	reopen func()
	s      *Service
	who    map[string]who
	model  map[string]map[function.Name]*modelled
	log    []string
}

var (
	modelNames   = []function.Name{"a", "b", "a-b"}
	modelTenants = []string{"acme", "globex"}
	modelAliases = []string{"live", "beta"}
)

func newHistory(t *testing.T, r *rand.Rand, w *world) *history {
	h := &history{t: t, r: r, w: w, who: map[string]who{}, model: map[string]map[function.Name]*modelled{}, reopen: func() {}}
	h.s = w.open()
	operator := w.operator(h.s)
	for _, slug := range modelTenants {
		h.who[slug] = operator.tenant(slug)
		h.model[slug] = map[function.Name]*modelled{}
	}
	return h
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// expect fails unless err is of the kind; fault.Kind(255) stands for none.
const none = fault.Kind(255)

func (h *history) expect(what string, err error, want fault.Kind) bool {
	h.t.Helper()
	h.log = append(h.log, what)
	if err == nil && want == none || err != nil && fault.KindOf(err) == want {
		return err == nil
	}
	h.t.Fatalf("%s: got %v, want %v; the history was %q", what, err, want, h.log)
	return false
}

// step does one random act on both, the service and the model.
func (h *history) step() {
	slug, name := pick(h.r, modelTenants), pick(h.r, modelNames)
	o, m := h.who[slug], h.model[slug][name]
	missing := none
	if m == nil {
		missing = fault.NotFound
	}
	act := h.r.IntN(14)
	what := fmt.Sprintf("%d %s/%s", act, slug, name)
	switch act {
	case 0, 1, 2:
		h.create(o, name, what)
	case 3:
		if h.expect("delete "+what, o.s.DeleteFunction(ctx, o.may(ActionDeleteFunction, name), name, ""), missing) {
			delete(h.model[slug], name)
		}
	case 4, 5:
		code := fmt.Sprint("code", h.r.IntN(3))
		_, err := o.code(UpdateCodeInput{Name: name, Package: module(code)})
		if h.expect("update code "+code+what, err, missing) {
			m.code = code
			o.ready(name)
		}
	case 6:
		timeout := 1 + h.r.IntN(3)
		_, err := o.update(UpdateConfigurationInput{Name: name, TimeoutSec: &timeout})
		if h.expect("update configuration "+what, err, missing) {
			m.timeout = timeout
		}
	case 7:
		h.publish(o, m, name, missing)
	case 8, 9:
		h.alias(o, m, name, missing)
	case 10:
		h.deleteVersion(o, m, name, missing)
	case 11:
		h.tag(o, m, name, missing)
	case 12:
		h.reserve(o, m, name, missing)
	case 13:
		h.restart()
	}
}

func (h *history) create(o who, name function.Name, what string) {
	slug := string(o.me.Tenant)
	in := o.input(name, fmt.Sprint("code", h.r.IntN(3)))
	in.Description = pick(h.r, []string{"", "text"})
	in.Publish = h.r.IntN(3) == 0
	want := none
	if h.model[slug][name] != nil {
		want = fault.Conflict
	}
	_, err := o.s.CreateFunction(ctx, o.may(ActionCreateFunction, name), in)
	if !h.expect("create "+what, err, want) {
		return
	}
	m := &modelled{
		code: string(in.Package[8:]), description: in.Description, timeout: 3, next: 1, reserved: -1,
		published: map[int]string{}, aliases: map[string]string{}, tags: map[string]string{},
	}
	h.model[slug][name] = m
	if in.Publish {
		m.published[1], m.next, m.last = m.code, 2, m.content()
	}
	o.ready(name)
}

func (h *history) publish(o who, m *modelled, name function.Name, want fault.Kind) {
	v, err := o.s.PublishVersion(ctx, o.may(ActionPublishVersion, name), PublishInput{Name: name})
	if !h.expect("publish "+string(name), err, want) {
		return
	}
	if _, there := m.published[m.next-1]; !there || m.last != m.content() {
		m.published[m.next] = m.code
		m.last = m.content()
		m.next++
	}
	if v.Version.Number != strconv.Itoa(m.next-1) {
		h.t.Fatalf("published %s, want %d; the history was %q", v.Version.Number, m.next-1, h.log)
	}
}

func (h *history) alias(o who, m *modelled, name function.Name, want fault.Kind) {
	alias, version := pick(h.r, modelAliases), strconv.Itoa(1+h.r.IntN(3))
	number, _ := strconv.Atoi(version)
	var err error
	switch h.r.IntN(4) {
	case 0:
		if err = o.s.DeleteAlias(ctx, o.may(ActionDeleteAlias, name), name, alias); h.expect("delete alias "+alias, err, want) {
			delete(m.aliases, alias)
		}
		return
	case 1:
		if m != nil && (m.aliases[alias] == "" || m.published[number] == "") {
			want = fault.NotFound
		}
		_, err = o.s.UpdateAlias(ctx, o.may(ActionUpdateAlias, name), AliasInput{Name: name, Alias: alias, Version: &version})
	default:
		if m != nil && m.aliases[alias] != "" {
			want = fault.Conflict
		} else if m != nil && m.published[number] == "" {
			want = fault.NotFound
		}
		_, err = o.s.CreateAlias(ctx, o.may(ActionCreateAlias, name), AliasInput{Name: name, Alias: alias, Version: &version})
	}
	if h.expect("alias "+alias+" to "+version, err, want) {
		m.aliases[alias] = version
	}
}

func (h *history) deleteVersion(o who, m *modelled, name function.Name, want fault.Kind) {
	number := 1 + h.r.IntN(3)
	version := strconv.Itoa(number)
	if m != nil && m.published[number] != "" && slices.Contains(slices.Collect(maps.Values(m.aliases)), version) {
		want = fault.Conflict
	}
	if h.expect("delete version "+version, o.s.DeleteFunction(ctx, o.may(ActionDeleteFunction, name), name, version), want) {
		delete(m.published, number)
	}
}

func (h *history) tag(o who, m *modelled, name function.Name, want fault.Kind) {
	key := pick(h.r, []string{"x", "y"})
	if h.r.IntN(2) == 0 {
		if h.expect("untag "+key, o.s.UntagResource(ctx, o.may(ActionUntagResource, name), name, []string{key}), want) {
			delete(m.tags, key)
		}
		return
	}
	value := fmt.Sprint(h.r.IntN(100))
	if h.expect("tag "+key, o.s.TagResource(ctx, o.may(ActionTagResource, name), name, map[string]string{key: value}), want) {
		m.tags[key] = value
	}
}

func (h *history) reserve(o who, m *modelled, name function.Name, want fault.Kind) {
	if h.r.IntN(2) == 0 {
		if h.expect("unreserve", o.s.DeleteConcurrency(ctx, o.may(ActionDeleteConcurrency, name), name), want) {
			m.reserved = -1
		}
		return
	}
	n, others := h.r.IntN(60), 0
	for other, f := range h.model[string(o.me.Tenant)] {
		if other != name {
			others += max(0, f.reserved)
		}
	}
	if m != nil && n+others > 90 {
		want = fault.Invalid
	}
	if h.expect(fmt.Sprint("reserve ", n), o.s.PutConcurrency(ctx, o.may(ActionPutConcurrency, name), name, n), want) {
		m.reserved = n
	}
}

func (h *history) restart() {
	h.log = append(h.log, "restart")
	h.s.Close()
	h.reopen()
	h.s = h.w.open()
	for _, slug := range modelTenants {
		h.who[slug] = as(h.t, h.s, h.who[slug].me.AccessKeyID)
	}
}

// compare holds everything that can be read against the model.
func (h *history) compare() {
	h.t.Helper()
	wrong := func(format string, args ...any) {
		h.t.Helper()
		h.t.Fatalf("%s; the history was %q", fmt.Sprintf(format, args...), h.log)
	}
	for slug, functions := range h.model {
		o := h.who[slug]
		page, err := o.s.ListFunctions(ctx, o.on(ActionListFunctions, o.s.AccountResource(o.account)), ListInput{})
		if err != nil || len(page.Items) != len(functions) {
			wrong("%s has %d functions, want %d: %v", slug, len(page.Items), len(functions), err)
		}
		for name, m := range functions {
			v := o.get(name, "")
			if v.Version.Description != m.description || int(v.Version.Limits.Timeout.Seconds()) != m.timeout || !maps.Equal(v.Tags, m.tags) ||
				(v.Reserved == nil) != (m.reserved < 0) || v.Reserved != nil && *v.Reserved != m.reserved {
				wrong("%s/%s is %+v, want %+v", slug, name, v, m)
			}
			versions, err := o.s.ListVersions(ctx, o.may(ActionListVersions, name), name, ListInput{})
			if err != nil || len(versions.Items) != len(m.published)+1 {
				wrong("%s/%s has %d versions, want %d and $LATEST: %v", slug, name, len(versions.Items), len(m.published), err)
			}
			want := map[string]string{"": m.code, function.Latest: m.code}
			for n, code := range m.published {
				want[strconv.Itoa(n)] = code
			}
			for alias, version := range m.aliases {
				want[alias] = want[version]
			}
			for q, code := range want {
				got, err := o.s.GetCode(ctx, o.may(ActionGetFunction, name), name, q)
				target, resolveErr := o.s.Resolve(o.account, name, q, h.r.Uint64())
				if err != nil || resolveErr != nil || string(got[8:]) != code || target.Reserved != m.reserved || string(target.AccountSlug) != slug {
					wrong("%s/%s:%s is %q %+v %v %v, want %q", slug, name, q, got, target, err, resolveErr, code)
				}
			}
			for _, alias := range modelAliases {
				if _, err := o.s.Resolve(o.account, name, alias, 0); (err == nil) != (m.aliases[alias] != "") {
					wrong("%s/%s:%s: %v", slug, name, alias, err)
				}
			}
		}
	}
}

func (h *history) run(steps int) {
	for range steps {
		h.step()
		h.compare()
	}
	h.restart()
	h.compare()
	if left := h.s.ix.orphans(); len(left) != 0 {
		h.t.Fatalf("%d records hang on nothing; the history was %q", len(left), h.log)
	}
}

func TestRandomHistories(t *testing.T) {
	t.Parallel()
	r := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		newHistory(t, r, newWorld(t)).run(60)
	}
}

// TestRandomHistoryOnDisk is the same on the real store, whose server is
// started anew at each restart.
func TestRandomHistoryOnDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	var b *bus.Bus
	start := func() {
		if b != nil {
			b.Close()
		}
		var err error
		if b, err = bus.Start(bus.Config{StoreDir: dir}); err != nil {
			t.Fatal(err)
		}
		if err := b.Ensure(context.Background()); err != nil {
			t.Fatal(err)
		}
		for bucket, kv := range map[bus.Bucket]*store.KV{bus.Tenants: &w.stores.Tenants, bus.Identities: &w.stores.Identities, bus.Functions: &w.stores.Functions} {
			if *kv, err = jetstream.Open(context.Background(), b.JetStream(), bucket); err != nil {
				t.Fatal(err)
			}
		}
	}
	start()
	t.Cleanup(func() { b.Close() })
	h := newHistory(t, testrounds.Rand(t), w)
	h.reopen = start
	h.run(5 * testrounds.Rounds(t))
}
