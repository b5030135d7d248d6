package isolation

import (
	"fmt"
	"slices"
)

// Level is a place where strategy and wall can be set, or a reason for which
// a wall is higher than what was set. The more special place wins.
type Level uint8

// The levels. Those after AtFunctionEndTenant are no places: they raise a wall.
const (
	// AtPlatform is the platform's default.
	AtPlatform Level = iota
	// AtPlan is the default of the tenant's plan.
	AtPlan
	// AtTenant is the tenant's own.
	AtTenant
	// AtFunction is the function's.
	AtFunction
	// AtEndTenant is that of an end tenant, for all functions of its account.
	AtEndTenant
	// AtFunctionEndTenant is that of an end tenant for one function.
	AtFunctionEndTenant
	// ByMinimum is an operator's minimum.
	ByMinimum
	// ByRuntime is a runtime that runs native code.
	ByRuntime
	// ByTrust is that the code is not trusted to share a process, or has nobody
	// to share it with.
	ByTrust
	levels
)

var levelNames = [levels]string{"platform", "plan", "tenant", "function", "end-tenant", "function-end-tenant", "minimum", "runtime", "trust"}

// String gives the name, as in JSON.
func (l Level) String() string {
	if l < levels {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText gives the name.
//
// Errors: for a value that is no level.
func (l Level) MarshalText() ([]byte, error) {
	if l >= levels {
		return nil, fmt.Errorf("%s does not exist", l)
	}
	return []byte(l.String()), nil
}

// UnmarshalText reads the name.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levelNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%.40q is no level", text)
	}
	*l = Level(i)
	return nil
}

// Layers are what all places say for one call, by Level. That of the platform
// need not be filled in.
type Layers [AtFunctionEndTenant + 1]Setting

// Minimum is the weakest wall that operators allow, and where they said so.
type Minimum struct {
	Wall Wall   `json:"wall,omitzero"`
	Of   string `json:"of,omitempty"`
}

// TagMinimum is a minimum for tenants with a tag. An empty Value stands for
// every value.
type TagMinimum struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
	Wall  Wall   `json:"wall"`
}

// name says which tag it is about.
func (t TagMinimum) name() string {
	if t.Value == "" {
		return "tag " + t.Key
	}
	return "tag " + t.Key + "=" + t.Value
}

// Minima are the weakest walls that operators allow: everywhere, by plan, and
// by a tenant's tag.
type Minima struct {
	Installation Wall            `json:"installation,omitzero"`
	Plans        map[string]Wall `json:"plans,omitempty"`
	Tags         []TagMinimum    `json:"tags,omitempty"`
}

// For gives the strongest of the minima that hold for a tenant on a plan and
// with tags.
func (m Minima) For(plan string, tags map[string]string) Minimum {
	highest := Minimum{}
	raise := func(w Wall, of func() string) {
		if highest.Wall.WeakerThan(w) {
			highest = Minimum{w, of()}
		}
	}
	raise(m.Installation, func() string { return "installation" })
	raise(m.Plans[plan], func() string { return "plan " + plan })
	for _, t := range m.Tags {
		if value, has := tags[t.Key]; has && (t.Value == "" || t.Value == value) {
			raise(t.Wall, t.name)
		}
	}
	return highest
}

// Facts are what is known of a function, apart from settings.
type Facts struct {
	// Native says that its runtime runs machine code and not WebAssembly.
	Native bool
	// PerTenant says that it serves end tenants.
	PerTenant bool
	// Trusted says that an operator trusts exactly this code to keep end tenants
	// apart within a process.
	Trusted bool
}

// Effective is the strategy and wall of a call, and where each came from.
type Effective struct {
	Strategy     Strategy `json:"strategy"`
	StrategyFrom Level    `json:"strategyFrom"`
	Wall         Wall     `json:"wall"`
	// WallFrom is the place that set the wall, or the reason that raised it.
	WallFrom Level `json:"wallFrom"`
	// Asked is the wall that the place AskedFrom set. It differs from Wall where
	// that was raised.
	Asked     Wall  `json:"asked"`
	AskedFrom Level `json:"askedFrom"`
	// Minimum is what operators allow at least.
	Minimum Minimum `json:"minimum,omitzero"`
}

// Resolve finds what holds for a call. A wall that may not be, or not any
// more, is raised to the next one that may: so a minimum holds from the moment
// it is there, whatever was set before.
func Resolve(layers Layers, minimum Minimum, facts Facts) Effective {
	e := Effective{Strategy: DefaultStrategy, Wall: DefaultWall, Minimum: minimum}
	for l := AtPlan; l <= AtFunctionEndTenant; l++ {
		if s := layers[l].Strategy; s != NoStrategy {
			e.Strategy, e.StrategyFrom = s, l
		}
		if w := layers[l].Wall; w != NoWall {
			e.Wall, e.WallFrom = w, l
		}
	}
	e.Asked, e.AskedFrom = e.Wall, e.WallFrom
	if e.Wall == Instance && (!facts.Trusted || !facts.PerTenant || e.Strategy != Namespace) {
		e.Wall, e.WallFrom = Process, ByTrust
	}
	if facts.Native && e.Wall.WeakerThan(Kernel) {
		e.Wall, e.WallFrom = Kernel, ByRuntime
	}
	if e.Wall.WeakerThan(minimum.Wall) {
		e.Wall, e.WallFrom = minimum.Wall, ByMinimum
	}
	return e
}

// Why says in a few words where the wall came from.
func (e Effective) Why() string {
	switch e.WallFrom {
	case ByMinimum:
		return fmt.Sprintf("minimum of the %s, over %s of the %s", e.Minimum.Of, e.Asked, e.AskedFrom)
	case ByRuntime:
		return "native code runs behind the wall kernel only"
	case ByTrust:
		return "instance is for trusted code of the strategy namespace only"
	case AtPlatform:
		return "default of the platform"
	}
	return "set at the " + e.WallFrom.String()
}
