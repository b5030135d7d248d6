package isolation

import "fmt"

// Reason says, for programs, why a setting is refused.
type Reason string

// The reasons.
const (
	// BelowMinimum is a wall weaker than operators allow.
	BelowMinimum Reason = "BelowMinimum"
	// NativeCode is a wall below kernel for a runtime that runs machine code.
	NativeCode Reason = "NativeCode"
	// NotTrusted is the wall instance for code that no operator trusts.
	NotTrusted Reason = "NotTrusted"
	// NotShared is the wall instance where nobody would share a process.
	NotShared Reason = "NotShared"
	// TooBroad is the wall instance for more than one function.
	TooBroad Reason = "TooBroad"
	// NoEndTenants is a strategy for a function that serves no end tenants.
	NoEndTenants Reason = "NoEndTenants"
	// NotAvailable is a wall that this node cannot build.
	NotAvailable Reason = "NotAvailable"
)

// Refusal is why a setting cannot be. It is the only error of Check.
type Refusal struct {
	Reason Reason
	// Text says it to people, and Remedy what they can do.
	Text, Remedy string
}

// Error gives text and remedy.
func (r *Refusal) Error() string { return r.Text + " " + r.Remedy }

func refuse(reason Reason, remedy, format string, args ...any) error {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Change is a setting that somebody wants to make at a place.
type Change struct {
	At Level
	// Setting is all that the place says after the change.
	Setting Setting
	// Layers are what all places say after the change.
	Layers  Layers
	Minimum Minimum
	// Facts are those of the function, for a change at one; nothing is known for
	// others.
	Facts Facts
	// Missing says why the node cannot build the wall kernel; empty if it can.
	Missing string
}

// Check refuses a change that cannot be, or that is weaker than operators
// allow. What it lets through is what Resolve then gives, as far as this place
// decides.
func (c Change) Check() error {
	oneFunction := c.At == AtFunction || c.At == AtFunctionEndTenant
	strategy := Resolve(c.Layers, c.Minimum, c.Facts).Strategy
	if s := c.Setting.Strategy; oneFunction && !c.Facts.PerTenant && s != NoStrategy && s != Namespace {
		return refuse(NoEndTenants, "Create it with the tenant isolation mode PER_TENANT, or leave the strategy alone.",
			"The function serves no end tenants, so nothing can be divided by the strategy %s.", s)
	}
	wall := c.Setting.Wall
	switch {
	case wall == NoWall:
	case wall.WeakerThan(c.Minimum.Wall):
		return refuse(BelowMinimum, "Choose a stronger wall, or ask the operator to lower the minimum.",
			"The wall %s is weaker than %s, the minimum of the %s.", wall, c.Minimum.Wall, c.Minimum.Of)
	case c.Facts.Native && wall.WeakerThan(Kernel):
		return refuse(NativeCode, "Use the wall kernel, or deploy the function as WebAssembly.",
			"The function's runtime runs native code, which the wall %s does not hold.", wall)
	case wall == Kernel && c.Missing != "":
		return refuse(NotAvailable, "Ask the operator to install what is missing.",
			"The wall kernel cannot be built on this node: %s.", c.Missing)
	case wall == Instance:
		return c.checkInstance(oneFunction, strategy)
	}
	return nil
}

// checkInstance refuses the wall instance, the one exception to one tenant
// for each process, wherever somebody could be surprised by it.
func (c Change) checkInstance(oneFunction bool, strategy Strategy) error {
	switch {
	case !oneFunction:
		return refuse(TooBroad, "Set it for each function that is trusted.",
			"The wall instance is for single functions, not for all of a %s.", c.At)
	case !c.Facts.PerTenant:
		return refuse(NotShared, "Use the wall process.",
			"The function serves no end tenants, so nobody would share its process.")
	case strategy != Namespace:
		return refuse(NotShared, "Use the wall process, or the strategy namespace.",
			"Under the strategy %s each end tenant has a function of its own, so nobody would share its process.", strategy)
	case !c.Facts.Trusted:
		return refuse(NotTrusted, "Ask the operator to look at the code and run carrel isolation trust.",
			"The wall instance lets end tenants share a process, and no operator has marked the function's code as trusted.")
	}
	return nil
}
