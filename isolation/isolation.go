// Package isolation says how far two tenants are kept apart: whose function
// and role runs (the strategy), and what stands between two executions (the
// wall). It finds the values that hold for a call among what platform, plan,
// tenant and function say, and it refuses what cannot be or is weaker than
// operators allow.
//
// The package only computes: it has no clock, no file and no memory. Whoever
// asks passes in what is known, and gets the same answer each time.
package isolation

import (
	"fmt"
	"strings"
)

// Strategy says whose function and role serves an end tenant.
type Strategy uint8

// The strategies, from the one that shares most. The zero value says nothing.
const (
	NoStrategy Strategy = iota
	// Namespace is one function with one role for all end tenants; the role's
	// session carries the end tenant's id, and policies decide by it.
	Namespace
	// Function is a function of its own for each end tenant, derived from the
	// same version, with a role, logs, concurrency and version of its own.
	Function
	// Account is that function in the end tenant's own account.
	Account
	strategies
)

var strategyNames = [strategies]string{"", "namespace", "function", "account"}

// Wall is what stands between two tenants' executions.
type Wall uint8

// The walls, from the weakest. The zero value says nothing and is weaker than
// all.
const (
	NoWall Wall = iota
	// Instance is an instance of WebAssembly of one's own in a process that is
	// shared with other end tenants of the same function.
	Instance
	// Process is a jailed process of one's own.
	Process
	// Kernel is a kernel of one's own in user space, around such a process.
	Kernel
	walls
)

var wallNames = [walls]string{"", "instance", "process", "kernel"}

// The defaults of the platform, which hold where nobody says anything.
const (
	DefaultStrategy = Namespace
	DefaultWall     = Process
)

// Strategies lists the strategies, from the one that shares most.
func Strategies() []Strategy { return []Strategy{Namespace, Function, Account} }

// Walls lists the walls, from the weakest.
func Walls() []Wall { return []Wall{Instance, Process, Kernel} }

// ParseStrategy reads a strategy; the empty text is NoStrategy.
func ParseStrategy(text string) (Strategy, error) {
	for i, name := range strategyNames {
		if text == name {
			return Strategy(i), nil
		}
	}
	return NoStrategy, fmt.Errorf("%.40q is no strategy: there are %s", text, strings.Join(strategyNames[1:], ", "))
}

// ParseWall reads a wall; the empty text is NoWall.
func ParseWall(text string) (Wall, error) {
	for i, name := range wallNames {
		if text == name {
			return Wall(i), nil
		}
	}
	return NoWall, fmt.Errorf("%.40q is no wall: there are %s", text, strings.Join(wallNames[1:], ", "))
}

// String gives the name, as in JSON; empty for NoStrategy.
func (s Strategy) String() string {
	if s < strategies {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy(%d)", uint8(s))
}

// String gives the name, as in JSON; empty for NoWall.
func (w Wall) String() string {
	if w < walls {
		return wallNames[w]
	}
	return fmt.Sprintf("wall(%d)", uint8(w))
}

// MarshalText gives the name.
//
// Errors: for a value that is no strategy.
func (s Strategy) MarshalText() ([]byte, error) {
	if s >= strategies {
		return nil, fmt.Errorf("%s does not exist", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseStrategy.
func (s *Strategy) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStrategy(string(text))
	return err
}

// MarshalText gives the name.
//
// Errors: for a value that is no wall.
func (w Wall) MarshalText() ([]byte, error) {
	if w >= walls {
		return nil, fmt.Errorf("%s does not exist", w)
	}
	return []byte(w.String()), nil
}

// UnmarshalText is ParseWall.
func (w *Wall) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWall(string(text))
	return err
}

// WeakerThan tells whether more is shared behind w than behind other.
func (w Wall) WeakerThan(other Wall) bool { return w < other }

// WeakerThan tells whether more is shared under s than under other.
func (s Strategy) WeakerThan(other Strategy) bool { return s < other }

// Setting is what one place says of strategy and wall, or of one of them.
type Setting struct {
	Strategy Strategy `json:"strategy,omitzero"`
	Wall     Wall     `json:"wall,omitzero"`
}

// IsZero tells whether nothing is said.
func (s Setting) IsZero() bool { return s == Setting{} }

// With gives s with the values that change says.
func (s Setting) With(change Setting) Setting {
	if change.Strategy != NoStrategy {
		s.Strategy = change.Strategy
	}
	if change.Wall != NoWall {
		s.Wall = change.Wall
	}
	return s
}
