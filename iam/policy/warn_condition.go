package policy

import "strings"

// tenantKeys say whose request it is, or whose resource.
var tenantKeys = []string{
	tenantKey, "carrel:endtenant", "carrel:accounttenant",
	"aws:principaltag/" + tenantAlias, "aws:resourcetag/" + tenantAlias, "aws:requesttag/" + tenantAlias,
}

// alwaysThere are keys that every request has.
var alwaysThere = []string{
	"aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:requestedregion", "aws:resourceaccount",
	"aws:principalisawsservice", "aws:viaawsservice", "carrel:chaindepth", "carrel:strategy", "carrel:wall",
}

// sets are keys of several values.
var sets = []string{
	"aws:tagkeys", "aws:principalorgpaths", "aws:resourceorgpaths", "aws:sourceorgpaths", "aws:calledvia",
	"aws:principalservicenameslist", "sts:transitivetagkeys",
}

func (w *warner) conditions() {
	for i := range w.s.Conditions {
		c, at := &w.s.Conditions[i], &w.at.conditions[i]
		w.missing(c, at)
		if c.Quantifier == Single && c.Operator != Null && c.isOn(sets) {
			effect := "nothing is allowed"
			if w.s.Effect == Deny {
				effect = "nothing is denied"
			}
			w.add(WarnSingle, at.path, "Put ForAnyValue: or ForAllValues: before the operator.",
				"%s is a set, which %s never matches: %s.", at.key, c.Name(), effect)
		}
		if c.Operator.IgnoresCase() && (c.isOn(tenantKeys) || c.namesTenant()) {
			w.add(WarnIgnoreCase, at.path, "Use StringEquals or StringNotEquals.",
				"tenants whose ids differ by case are two, and %s takes them for one.", c.Name())
		}
		for j := range c.Values {
			w.value(c, &c.Values[j], at.values[j])
		}
	}
}

// missing looks for conditions of an Allow that hold where the key is missing.
func (w *warner) missing(c *Condition, at *conditionPlace) {
	if w.s.Effect == Deny || c.Operator == Null || w.present(c.Key) {
		return
	}
	remedy := `Add "Null":{"` + at.key + `":"false"}.`
	switch {
	case c.IfExists:
		if c.isOn(tenantKeys) {
			w.add(WarnIfExists, at.path, "Remove IfExists.", "requests that are nobody's are allowed: %s holds where %s is missing.", c.Name(), at.key)
		}
	case c.Quantifier == ForAllValues:
		w.add(WarnForAllValues, at.path, remedy, "%s holds where %s is missing or empty.", c.Name(), at.key)
	case c.Quantifier == Single && c.Operator.Inverted() && !c.isOn(alwaysThere):
		w.add(WarnInverted, at.path, remedy, "%s holds where %s is missing.", c.Name(), at.key)
	}
}

// present tells whether the statement says that the key has to be there: by
// Null, or by another condition on it.
func (w *warner) present(key string) bool {
	for i := range w.s.Conditions {
		if c := &w.s.Conditions[i]; c.Key == key && c.needsKey() {
			return true
		}
	}
	return false
}

// namesTenant tells whether a value holds a variable for the tenant.
func (c *Condition) namesTenant() bool {
	for i := range c.Values {
		for _, t := range c.Values[i].Pattern {
			if t.Kind == Variable && (&Condition{Key: t.Text}).isOn(tenantKeys) {
				return true
			}
		}
	}
	return false
}

func (w *warner) value(c *Condition, v *Value, path string) {
	family := operators[c.Operator].family
	if family == stringFamily && !c.Operator.Wildcards() && strings.ContainsAny(unescaped.Replace(v.Text), "*?") {
		w.add(WarnLiteralWildcard, path, "Use StringLike, or StringNotLike.", "%s compares * and ? as they are.", c.Name())
	}
	if w.doc.Version == Version2008 && (family == stringFamily || family == arnFamily) {
		w.literalVariable(v.Text, path)
	}
	// What an Allow asks for must not be too much, nor what a Deny leaves out.
	if c.Operator.Wildcards() && (w.s.Effect == Deny) == c.Operator.Inverted() {
		p := v.Pattern
		if family == arnFamily {
			p = v.Parts[5]
		}
		w.bounds(p, v.Text, path)
	}
}

// unescaped takes out the wildcards that were written to stand for themselves.
var unescaped = strings.NewReplacer("${*}", "", "${?}", "")

// tagCase looks for keys of tags that differ by case only: they are one key,
// and the tag is not always the one that was meant.
func (w *warner) tagCase(places []place) {
	first := map[string]string{}
	for i := range places {
		for _, c := range places[i].conditions {
			if !strings.Contains(c.key, "/") {
				continue
			}
			if before, found := first[lower(c.key)]; !found {
				first[lower(c.key)] = c.key
			} else if before[strings.Index(before, "/"):] != c.key[strings.Index(c.key, "/"):] {
				w.add(WarnTagCase, c.path, "Write the key in one way.", "%s and %s are the same key.", c.key, before)
			}
		}
	}
}
