package policy

import (
	"net/netip"
	"strings"
)

// Source is a document to compile, with the name that explanations give it:
// an ARN of a managed policy, or the name of an inline one.
type Source struct {
	Name     string
	Document *Document
}

// Set is the statements of several policies, compiled to be matched fast.
// A Set never changes and is safe for concurrent use.
type Set struct {
	statements []statement
	// byResource finds statements by what a resource of theirs begins with, or
	// byName by what its sixth part does; byAction those others that name
	// actions, by theirs; rest is what none of them finds.
	byResource, byName, byAction prefixIndex
	rest                         []int32
	// parts are the sets that a joined one consists of; it has nothing else.
	parts []*Set
}

// Join gives a set that says what several say together, as Compile of all
// their sources would. It shares them, so that of policies that many have, in
// ever other combinations, each is in memory once.
func Join(sets ...*Set) *Set { return &Set{parts: sets} }

// statement is a Statement made ready for matching.
type statement struct {
	policy string
	index  int
	sid    string
	effect Effect

	principals   *principalList
	notPrincipal bool
	actions      []glob
	notAction    bool
	// resources is nil where the policy has none, which is about whatever it
	// is attached to.
	resources   []arnGlob
	notResource bool
	conditions  []condition
}

// principalList is Principals with the accounts apart.
type principalList struct {
	any                               bool
	accounts, arns, hosts, identities []string
}

// condition is a Condition made ready for evaluation.
type condition struct {
	operator   Operator
	quantifier Quantifier
	ifExists   bool
	key        string
	hash       uint32
	globs      []glob
	arns       []arnGlob
	numbers    []decimal
	times      []int64
	bools      []bool
	binaries   [][]byte
	prefixes   []netip.Prefix
}

// Compile makes one Set of several documents.
func Compile(sources ...Source) *Set {
	set := &Set{}
	for _, source := range sources {
		for i := range source.Document.Statements {
			s := compileStatement(&source.Document.Statements[i])
			s.policy, s.index = source.Name, i
			set.statements = append(set.statements, s)
		}
	}
	set.index()
	return set
}

func compileStatement(s *Statement) statement {
	out := statement{
		sid: s.SID, effect: s.Effect, notPrincipal: s.NotPrincipal, notAction: s.NotAction, notResource: s.NotResource,
	}
	if s.Principals != nil {
		out.principals = compilePrincipals(s.Principals)
	}
	for _, a := range s.Actions {
		out.actions = append(out.actions, newGlob(a, true))
	}
	for i := range s.Resources {
		r := &s.Resources[i]
		a := arnGlob{all: true}
		if !r.All {
			a = newARNGlob(&r.Parts)
		}
		out.resources = append(out.resources, a)
	}
	for i := range s.Conditions {
		out.conditions = append(out.conditions, compileCondition(&s.Conditions[i]))
	}
	return out
}

func compilePrincipals(p *Principals) *principalList {
	out := &principalList{any: p.Any, hosts: p.Service, identities: p.Federated}
	for _, arn := range p.AWS {
		if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[2] == "iam" && parts[5] == "root" {
			out.accounts = append(out.accounts, parts[4])
		} else {
			out.arns = append(out.arns, arn)
		}
	}
	return out
}

func compileCondition(c *Condition) condition {
	out := condition{operator: c.Operator, quantifier: c.Quantifier, ifExists: c.IfExists, key: c.Key, hash: hash(c.Key)}
	for i := range c.Values {
		v := &c.Values[i]
		switch operators[c.Operator].family {
		case stringFamily:
			out.globs = append(out.globs, newGlob(v.Pattern, c.Operator.IgnoresCase()))
		case arnFamily:
			out.arns = append(out.arns, newARNGlob(&v.Parts))
		case numberFamily:
			number, _ := decimalOf(v.Text) // the parser saw that it is one
			out.numbers = append(out.numbers, number)
		case dateFamily:
			out.times = append(out.times, v.Time)
		case boolFamily, nullFamily:
			out.bools = append(out.bools, v.Bool)
		case binaryFamily:
			out.binaries = append(out.binaries, v.Binary)
		case addressFamily:
			out.prefixes = append(out.prefixes, v.Prefix)
		}
	}
	return out
}
