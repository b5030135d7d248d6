package isolation

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, s := range append(Strategies(), NoStrategy) {
		if got, err := ParseStrategy(s.String()); err != nil || got != s {
			t.Errorf("%q is read as %v, %v", s, got, err)
		}
	}
	for _, w := range append(Walls(), NoWall) {
		if got, err := ParseWall(w.String()); err != nil || got != w {
			t.Errorf("%q is read as %v, %v", w, got, err)
		}
	}
	for _, text := range []string{"Process", " process", "processes", "none", strings.Repeat("x", 1000)} {
		if _, err := ParseWall(text); err == nil || len(err.Error()) > 120 {
			t.Errorf("the wall %.20q: %v", text, err)
		}
		if _, err := ParseStrategy(text); err == nil || len(err.Error()) > 120 {
			t.Errorf("the strategy %.20q: %v", text, err)
		}
	}
	for l := range levels {
		var got Level
		text, err := l.MarshalText()
		if err != nil || got.UnmarshalText(text) != nil || got != l {
			t.Errorf("level %d is written %q, %v, and read as %v", l, text, err, got)
		}
	}
	if Strategy(9).String() != "strategy(9)" || Wall(9).String() != "wall(9)" || Level(99).String() != "level(99)" {
		t.Error("a value that does not exist has a name")
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	if !Instance.WeakerThan(Process) || !Process.WeakerThan(Kernel) || Kernel.WeakerThan(Kernel) || !NoWall.WeakerThan(Instance) {
		t.Error("walls are not in the order instance, process, kernel")
	}
	if !Namespace.WeakerThan(Function) || !Function.WeakerThan(Account) || Account.WeakerThan(Account) {
		t.Error("strategies are not in the order namespace, function, account")
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value Setting
		text  string
	}{
		{Setting{}, `{}`},
		{Setting{Wall: Kernel}, `{"wall":"kernel"}`},
		{Setting{Strategy: Account, Wall: Instance}, `{"strategy":"account","wall":"instance"}`},
	} {
		raw, err := json.Marshal(c.value)
		if err != nil || string(raw) != c.text {
			t.Errorf("%v is written %s, %v", c.value, raw, err)
		}
		var got Setting
		if err := json.Unmarshal([]byte(c.text), &got); err != nil || got != c.value {
			t.Errorf("%s is read as %v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{`{"wall":"firewall"}`, `{"strategy":"shared"}`, `{"wall":2}`} {
		if err := json.Unmarshal([]byte(text), new(Setting)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if err := json.Unmarshal([]byte(`{"wallFrom":"nowhere"}`), new(Effective)); err == nil {
		t.Error("a level that does not exist is taken")
	}
	for _, bad := range []any{Strategy(9), Wall(9), Level(99)} {
		if raw, err := json.Marshal(bad); err == nil {
			t.Errorf("a value that does not exist is written %s", raw)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	was := Setting{Strategy: Function, Wall: Process}
	for _, c := range []struct{ change, want Setting }{
		{Setting{}, was},
		{Setting{Wall: Kernel}, Setting{Function, Kernel}},
		{Setting{Strategy: Namespace}, Setting{Namespace, Process}},
	} {
		if got := was.With(c.change); got != c.want {
			t.Errorf("%v with %v is %v", was, c.change, got)
		}
	}
	if !(Setting{}).IsZero() || was.IsZero() {
		t.Error("a setting that says nothing is not told from one that does")
	}
}

func TestMinima(t *testing.T) {
	t.Parallel()
	m := Minima{
		Plans: map[string]Wall{"gold": Kernel, "free": Process},
		Tags:  []TagMinimum{{Key: "zone", Value: "bank", Wall: Kernel}, {Key: "zone", Wall: Process}},
	}
	all := m
	all.Installation = Kernel
	for _, c := range []struct {
		name string
		of   Minima
		plan string
		tags map[string]string
		want Minimum
	}{
		{"nothing is said", Minima{}, "gold", map[string]string{"zone": "bank"}, Minimum{}},
		{"nothing about this one", m, "default", nil, Minimum{}},
		{"a plan", m, "gold", nil, Minimum{Kernel, "plan gold"}},
		{"a tag with this value", m, "free", map[string]string{"zone": "bank"}, Minimum{Kernel, "tag zone=bank"}},
		{"a tag with another value", m, "default", map[string]string{"zone": "shop"}, Minimum{Process, "tag zone"}},
		{"the first of equals", m, "free", map[string]string{"zone": "shop"}, Minimum{Process, "plan free"}},
		{"the whole installation", all, "gold", map[string]string{"zone": "bank"}, Minimum{Kernel, "installation"}},
	} {
		if got := c.of.For(c.plan, c.tags); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	trusted := Facts{PerTenant: true, Trusted: true}
	for _, c := range []struct {
		name    string
		layers  Layers
		minimum Minimum
		facts   Facts
		want    Effective
		why     string
	}{
		{name: "nobody says anything",
			want: Effective{Strategy: Namespace, Wall: Process, Asked: Process}, why: "default of the platform"},
		{name: "the layer of the platform is not read", layers: Layers{AtPlatform: {Account, Kernel}},
			want: Effective{Strategy: Namespace, Wall: Process, Asked: Process}, why: "default of the platform"},
		{name: "the plan", layers: Layers{AtPlan: {Function, Kernel}},
			want: Effective{Function, AtPlan, Kernel, AtPlan, Kernel, AtPlan, Minimum{}}, why: "set at the plan"},
		{name: "the tenant over the plan, one value each", layers: Layers{AtPlan: {Function, Kernel}, AtTenant: {Wall: Process}},
			want: Effective{Function, AtPlan, Process, AtTenant, Process, AtTenant, Minimum{}}, why: "set at the tenant"},
		{name: "the function over the tenant", layers: Layers{AtTenant: {Namespace, Process}, AtFunction: {Account, Kernel}},
			want: Effective{Account, AtFunction, Kernel, AtFunction, Kernel, AtFunction, Minimum{}}, why: "set at the function"},
		{name: "an end tenant over the function", layers: Layers{AtFunction: {Namespace, Process}, AtEndTenant: {Function, Kernel}},
			want: Effective{Function, AtEndTenant, Kernel, AtEndTenant, Kernel, AtEndTenant, Minimum{}}, why: "set at the end-tenant"},
		{name: "an end tenant for one function over it for all", layers: Layers{AtEndTenant: {Wall: Kernel}, AtFunctionEndTenant: {Wall: Process}},
			want: Effective{Namespace, AtPlatform, Process, AtFunctionEndTenant, Process, AtFunctionEndTenant, Minimum{}}, why: "set at the function-end-tenant"},
		{name: "a minimum raises", layers: Layers{AtFunction: {Wall: Process}}, minimum: Minimum{Kernel, "plan gold"},
			want: Effective{Namespace, AtPlatform, Kernel, ByMinimum, Process, AtFunction, Minimum{Kernel, "plan gold"}},
			why:  "minimum of the plan gold, over process of the function"},
		{name: "a minimum lowers nothing", layers: Layers{AtTenant: {Wall: Kernel}}, minimum: Minimum{Process, "installation"},
			want: Effective{Namespace, AtPlatform, Kernel, AtTenant, Kernel, AtTenant, Minimum{Process, "installation"}}, why: "set at the tenant"},
		{name: "native code", layers: Layers{AtTenant: {Wall: Process}}, facts: Facts{Native: true},
			want: Effective{Namespace, AtPlatform, Kernel, ByRuntime, Process, AtTenant, Minimum{}}, why: "native code runs behind the wall kernel only"},
		{name: "trusted code", layers: Layers{AtFunction: {Wall: Instance}}, facts: trusted,
			want: Effective{Namespace, AtPlatform, Instance, AtFunction, Instance, AtFunction, Minimum{}}, why: "set at the function"},
		{name: "code that is not trusted any more", layers: Layers{AtFunction: {Wall: Instance}}, facts: Facts{PerTenant: true},
			want: Effective{Namespace, AtPlatform, Process, ByTrust, Instance, AtFunction, Minimum{}}, why: "instance is for trusted code of the strategy namespace only"},
		{name: "nobody to share with", layers: Layers{AtFunction: {Wall: Instance}}, facts: Facts{Trusted: true},
			want: Effective{Namespace, AtPlatform, Process, ByTrust, Instance, AtFunction, Minimum{}}, why: "instance is for trusted code of the strategy namespace only"},
		{name: "instance with a function for each", layers: Layers{AtFunction: {Function, Instance}}, facts: trusted,
			want: Effective{Function, AtFunction, Process, ByTrust, Instance, AtFunction, Minimum{}}, why: "instance is for trusted code of the strategy namespace only"},
		{name: "instance below the minimum", layers: Layers{AtFunction: {Wall: Instance}}, facts: trusted, minimum: Minimum{Kernel, "installation"},
			want: Effective{Namespace, AtPlatform, Kernel, ByMinimum, Instance, AtFunction, Minimum{Kernel, "installation"}},
			why:  "minimum of the installation, over instance of the function"},
	} {
		got := Resolve(c.layers, c.minimum, c.facts)
		if got != c.want || got.Why() != c.why {
			t.Errorf("%s: %+v, %q\nwant %+v, %q", c.name, got, got.Why(), c.want, c.why)
		}
	}
}

// TestResolveIsNeverTooWeak tries every combination there is.
func TestResolveIsNeverTooWeak(t *testing.T) {
	t.Parallel()
	settings := []Setting{}
	for s := range strategies {
		for w := range walls {
			settings = append(settings, Setting{s, w})
		}
	}
	n := 0
	for _, tenant := range settings {
		for _, fn := range settings {
			for minimum := range walls {
				for bits := range 8 {
					f := Facts{Native: bits&1 != 0, PerTenant: bits&2 != 0, Trusted: bits&4 != 0}
					e := Resolve(Layers{AtTenant: tenant, AtFunction: fn}, Minimum{minimum, "x"}, f)
					n++
					switch {
					case e.Wall == NoWall || e.Strategy == NoStrategy,
						e.Wall.WeakerThan(minimum),
						f.Native && e.Wall != Kernel,
						e.Wall == Instance && (!f.Trusted || !f.PerTenant || e.Strategy != Namespace),
						e.Wall.WeakerThan(e.Asked):
						t.Fatalf("%v, %v, at least %v, %+v: %+v", tenant, fn, minimum, f, e)
					}
					c := Change{At: AtFunction, Setting: fn, Layers: Layers{AtTenant: tenant, AtFunction: fn}, Minimum: Minimum{minimum, "x"}, Facts: f}
					if c.Check() == nil && fn.Wall != NoWall && e.Wall != fn.Wall {
						t.Fatalf("%v is taken and gives %+v", fn, e)
					}
				}
			}
		}
	}
	if n < 8000 {
		t.Fatalf("only %d combinations were tried", n)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	trusted := Facts{PerTenant: true, Trusted: true}
	for _, c := range []struct {
		name   string
		change Change
		want   Reason
	}{
		{"nothing", Change{At: AtTenant}, ""},
		{"process for a tenant", Change{At: AtTenant, Setting: Setting{Wall: Process}}, ""},
		{"below the minimum", Change{At: AtTenant, Setting: Setting{Wall: Process}, Minimum: Minimum{Kernel, "plan gold"}}, BelowMinimum},
		{"at the minimum", Change{At: AtTenant, Setting: Setting{Wall: Kernel}, Minimum: Minimum{Kernel, "plan gold"}}, ""},
		{"a strategy under a minimum", Change{At: AtTenant, Setting: Setting{Strategy: Function}, Minimum: Minimum{Kernel, "plan gold"}}, ""},
		{"native code in a process", Change{At: AtFunction, Setting: Setting{Wall: Process}, Facts: Facts{Native: true}}, NativeCode},
		{"native code in a kernel", Change{At: AtFunction, Setting: Setting{Wall: Kernel}, Facts: Facts{Native: true}}, ""},
		{"kernel where there is none", Change{At: AtPlan, Setting: Setting{Wall: Kernel}, Missing: "runsc was not found"}, NotAvailable},
		{"process where there is no kernel", Change{At: AtPlan, Setting: Setting{Wall: Process}, Missing: "runsc was not found"}, ""},
		{"instance for a plan", Change{At: AtPlan, Setting: Setting{Wall: Instance}}, TooBroad},
		{"instance for a tenant", Change{At: AtTenant, Setting: Setting{Wall: Instance}}, TooBroad},
		{"instance for an end tenant", Change{At: AtEndTenant, Setting: Setting{Wall: Instance}, Facts: trusted}, TooBroad},
		{"instance without trust", Change{At: AtFunction, Setting: Setting{Wall: Instance}, Facts: Facts{PerTenant: true}}, NotTrusted},
		{"instance with trust", Change{At: AtFunction, Setting: Setting{Wall: Instance}, Facts: trusted}, ""},
		{"instance for one of its end tenants", Change{At: AtFunctionEndTenant, Setting: Setting{Wall: Instance}, Facts: trusted}, ""},
		{"instance without end tenants", Change{At: AtFunction, Setting: Setting{Wall: Instance}, Facts: Facts{Trusted: true}}, NotShared},
		{"instance in the end tenant's account", Change{At: AtFunction, Setting: Setting{Account, Instance},
			Layers: Layers{AtFunction: {Account, Instance}}, Facts: trusted}, NotShared},
		{"instance where the plan says account", Change{At: AtFunction, Setting: Setting{Wall: Instance},
			Layers: Layers{AtPlan: {Strategy: Account}, AtFunction: {Wall: Instance}}, Facts: trusted}, NotShared},
		{"a strategy without end tenants", Change{At: AtFunction, Setting: Setting{Strategy: Function}}, NoEndTenants},
		{"namespace without end tenants", Change{At: AtFunction, Setting: Setting{Strategy: Namespace}}, ""},
		{"a strategy with end tenants", Change{At: AtFunction, Setting: Setting{Strategy: Account}, Facts: Facts{PerTenant: true}}, ""},
		{"a strategy for all of a tenant", Change{At: AtTenant, Setting: Setting{Strategy: Account}}, ""},
	} {
		err := c.change.Check()
		var r *Refusal
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s is refused: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &r) || r.Reason != c.want):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		case r != nil && (r.Text == "" || r.Remedy == "" || !strings.HasSuffix(r.Error(), ".")):
			t.Errorf("%s: the refusal says too little: %q", c.name, r.Error())
		}
	}
}
