package directory

import (
	"slices"

	"github.com/carrel-dev/carrel/iam/policy"
)

// Guardrail finds a policy that may be attached to a target of the tree: one
// of the management account, or a built-in one.
func Guardrail(arn string, shared *Table[Policy]) (*Policy, bool) {
	if IsBuiltin(arn) {
		return Builtin(arn)
	}
	p, found := shared.ByID(arn)
	if !found {
		return nil, false
	}
	return p.Record, true
}

// GuardrailTexts gives the texts of what is attached to a target as SCPs or
// as RCPs; RCPFullAWSAccess is among the RCPs of every target. It is false
// where one is missing.
func GuardrailTexts(kind policy.Kind, arns []string, shared *Table[Policy]) ([]Text, bool) {
	var texts []Text
	if kind == policy.RCP && !slices.Contains(arns, RCPFullAWSAccess) {
		arns = append([]string{RCPFullAWSAccess}, arns...)
	}
	for _, arn := range arns {
		p, found := Guardrail(arn, shared)
		if !found {
			return nil, false
		}
		texts = append(texts, Text{Name: arn, Kind: kind, Text: p.Text()})
	}
	return texts, true
}

// allowsNothing is what stands for guardrails that are not known.
var allowsNothing = policy.Compile()

// LevelsOf gives the guardrails along a way through the tree. Where a policy
// is missing or cannot be read, its level allows nothing.
func (o *Org) LevelsOf(c *Compiler, shared *Table[Policy], way []string) *Levels {
	l := &Levels{OrgPath: PathOf(way)}
	level := func(kind policy.Kind, target string, arns []string) policy.Level {
		nothing := policy.Level{Name: target, Set: allowsNothing}
		texts, ok := GuardrailTexts(kind, arns, shared)
		if !ok {
			return nothing
		}
		set, ok := c.Compile(texts...)
		if !ok {
			return nothing
		}
		return policy.Level{Name: target, Set: set}
	}
	for _, target := range way {
		at := o.At(target)
		l.SCPs = append(l.SCPs, level(policy.SCP, target, at.SCPs))
		l.RCPs = append(l.RCPs, level(policy.RCP, target, at.RCPs))
	}
	return l
}

// Equal tells whether two are the same guardrails.
func (l *Levels) Equal(other *Levels) bool {
	return l.OrgPath == other.OrgPath && slices.Equal(l.SCPs, other.SCPs) && slices.Equal(l.RCPs, other.RCPs)
}
