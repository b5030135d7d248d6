package prove

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// basis is what a violation was found in: the texts, not the one request that
// shows it. Two wholly different sets of policies can be violated by the same
// request, so a violation that was there before says nothing about a wider
// text that allows the same and more.
type basis struct {
	// layers all have to allow.
	layers []layer
	// guards are what else may bind a caller: one of them does.
	guards [][]layer
	// shares take requests out of what is a violation.
	shares []string
	// rest has to be the same: who asks, and what decides whose things are.
	rest string
}

// layer is the digests of policies of which one has to allow and none may
// deny. A policy that does both is in both lists.
type layer struct{ allows, denies []string }

func layerOf(policies []Policy) layer {
	var l layer
	for i := range policies {
		p := &policies[i]
		if p.Document == nil {
			continue
		}
		has := func(e policy.Effect) bool {
			return slices.ContainsFunc(p.Document.Statements, func(s policy.Statement) bool { return s.Effect == e })
		}
		if has(policy.Allow) {
			l.allows = append(l.allows, p.digest())
		}
		if has(policy.Deny) {
			l.denies = append(l.denies, p.digest())
		}
	}
	return l
}

func layersOf(levels []Level) []layer {
	out := make([]layer, len(levels))
	for i := range levels {
		out[i] = layerOf(levels[i].Policies)
	}
	return out
}

// within tells whether a layer lets through no more than another, at a glance:
// it grants by no other policies, and denies by all that the other denies by.
func (l layer) within(other layer) bool {
	return subset(l.allows, other.allows) && subset(other.denies, l.denies)
}

// allWithin tells whether layers that all have to allow let through no more
// than others.
func allWithin(these, those []layer) bool {
	return !slices.ContainsFunc(those, func(other layer) bool {
		return !slices.ContainsFunc(these, func(l layer) bool { return l.within(other) })
	})
}

func (b *basis) within(other *basis) bool {
	return b.rest == other.rest && allWithin(b.layers, other.layers) && subset(other.shares, b.shares) &&
		!slices.ContainsFunc(b.guards, func(g []layer) bool {
			return !slices.ContainsFunc(other.guards, func(o []layer) bool { return allWithin(g, o) })
		})
}

func subset(these, those []string) bool {
	return !slices.ContainsFunc(these, func(s string) bool { return !slices.Contains(those, s) })
}

// Holds tells whether a report holds a finding already, in that it is about
// the very same, or, for a violation, was found in policies that let through
// all that those of the finding do. What an operator accepted is not held.
func (r *Report) Holds(f *Finding) bool {
	return slices.ContainsFunc(r.Findings, func(old Finding) bool {
		switch {
		case f.Result != Violated || f.grounds == nil:
			return old.ID == f.ID && old.Accepted == ""
		case old.Result != Violated || old.grounds == nil:
			return false
		}
		return f.grounds.within(old.grounds)
	})
}

// grounds is what the judgement is of, but for who is judged.
func (j *judgement) grounds() *basis {
	b := &basis{layers: []layer{layerOf(j.identity)}}
	for _, bound := range j.bounds {
		b.layers = append(b.layers, layerOf(bound))
	}
	rest := []string{j.only, j.account, fmt.Sprint(j.end, j.anyOwner, j.direct, j.homeOnly), tagsDigest(j.fixed)}
	for _, l := range [][]Layout{j.layouts, j.home} {
		rest = append(rest, layoutsDigest(l))
	}
	for _, owned := range []map[string]bool{j.owned, j.mine} {
		for _, name := range slices.Sorted(maps.Keys(owned)) {
			rest = append(rest, fmt.Sprint(name, " ", owned[name]))
		}
		rest = append(rest, "")
	}
	b.rest = digest(rest...)
	return b
}

// by gives the basis of a finding about somebody.
func (b *basis) by(who ...string) *basis {
	if b == nil {
		return nil
	}
	next := *b
	next.rest += strings.Join(who, "\x01")
	return &next
}

// grounds is what the judgement of an object's policy is of.
func (c *consent) grounds() *basis {
	b := &basis{
		layers: append(layersOf(c.account.RCPs), layerOf([]Policy{*c.object.policy})),
		rest:   c.account.ID + "\x01" + c.object.arn,
	}
	for _, g := range c.environment.guards {
		b.guards = append(b.guards, layersOf(g.of.SCPs))
	}
	if len(b.guards) == 0 {
		b.guards = [][]layer{nil}
	}
	for _, s := range c.Shares {
		if s.Owner == c.account.ID {
			b.shares = append(b.shares, digest(s.Resource, s.With))
		}
	}
	return b
}
