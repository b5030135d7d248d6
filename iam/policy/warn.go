package policy

import (
	"fmt"
	"strings"
)

// The codes of warnings. They are stable: scripts may rely on them.
const (
	// WarnPrefix: nothing bounds the end of a variable's value, so that the
	// value acme lets in what belongs to acme2.
	WarnPrefix = "PREFIX_WITHOUT_DELIMITER"
	// WarnSuffix: nothing bounds its beginning.
	WarnSuffix = "SUFFIX_WITHOUT_DELIMITER"
	// WarnSlot: a wildcard before it lets the value stand anywhere.
	WarnSlot = "SLOT_NOT_FIXED"
	// WarnEmpty: a variable's value may be empty, or hold delimiters.
	WarnEmpty = "VARIABLE_MAY_BE_EMPTY"
	// WarnLiteralVariable: in Version 2008-10-17 a variable is text.
	WarnLiteralVariable = "VARIABLE_IS_LITERAL"
	// WarnLiteralWildcard: the operator has no wildcards, and a value has.
	WarnLiteralWildcard = "WILDCARD_IS_LITERAL"
	// WarnDenyVariable: a Deny holds only while its variable has a value.
	WarnDenyVariable = "DENY_DEPENDS_ON_VARIABLE"
	// WarnNotAction, WarnNotResource, WarnNotPrincipal: what is listed is
	// left out, and all else is meant, now and later.
	WarnNotAction    = "ALLOW_NOT_ACTION"
	WarnNotResource  = "ALLOW_NOT_RESOURCE"
	WarnNotPrincipal = "DENY_NOT_PRINCIPAL"
	// WarnForAllValues: it holds where the key is missing.
	WarnForAllValues = "FOR_ALL_VALUES_WITHOUT_NULL"
	// WarnInverted: so does an inverted operator.
	WarnInverted = "INVERTED_WITHOUT_NULL"
	// WarnIfExists: so does IfExists, and the key says whose request it is.
	WarnIfExists = "IF_EXISTS_ON_TENANT"
	// WarnSingle: without a set operator a key of several values never matches.
	WarnSingle = "SET_WITHOUT_SET_OPERATOR"
	// WarnTagCase: tags whose keys differ by case are one.
	WarnTagCase = "TAG_KEYS_DIFFER_BY_CASE"
	// WarnIgnoreCase: ids that differ by case are two tenants'.
	WarnIgnoreCase = "TENANT_IGNORING_CASE"
	// WarnTagging: who can set tags may set those that decide.
	WarnTagging = "TAGS_CAN_BE_SET"
	// WarnPolicyWrite: who can write policies can allow itself more.
	WarnPolicyWrite = "POLICIES_CAN_BE_WRITTEN"
	// WarnPassRole: roles of more rights can be passed.
	WarnPassRole = "ANY_ROLE_CAN_BE_PASSED"
	// WarnDeputy: a service may act for whomever it likes.
	WarnDeputy = "CONFUSED_DEPUTY"
	// WarnPublic: everybody is allowed, anonymous callers too.
	WarnPublic = "PUBLIC"
	// WarnNames: the names of what belongs to others are shown.
	WarnNames = "NAMES_OF_OTHERS"
	// WarnAllowsNothing: what only bounds allows nothing.
	WarnAllowsNothing = "ALLOWS_NOTHING"
)

// warn finds the pitfalls of a valid policy. It looks at the one document: what
// follows from several together is the prover's to find.
func warn(doc *Document, places []place) []Warning {
	w := &warner{doc: doc}
	for i := range doc.Statements {
		w.s, w.at = &doc.Statements[i], &places[i]
		w.negations()
		w.principals()
		w.conditions()
		w.patterns()
		w.actions()
	}
	w.tagCase(places)
	w.vacuity()
	return w.found
}

// warner looks at one statement after the other.
type warner struct {
	doc   *Document
	found []Warning
	s     *Statement
	at    *place
}

func (w *warner) add(code, path, remedy, format string, args ...any) {
	w.found = append(w.found, Warning{Code: code, Path: path, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

// negations looks at NotAction, NotResource and NotPrincipal.
func (w *warner) negations() {
	if w.s.Effect == Allow && w.s.NotAction {
		w.add(WarnNotAction, w.at.statement+".NotAction", "List the actions under Action, or deny with NotAction.",
			"everything is allowed but these actions, of every service, also of those to come.")
	}
	if w.s.Effect == Allow && w.s.NotResource {
		w.add(WarnNotResource, w.at.statement+".NotResource", "List the resources under Resource, or deny these.",
			"everything is allowed on all but these resources, other owners' included.")
	}
	if w.s.NotPrincipal {
		w.add(WarnNotPrincipal, w.at.principal, `Write "Principal":"*" with ArnNotEquals on aws:PrincipalArn.`,
			"this denies everybody who has a permissions boundary, and whoever is not listed with account, role and session.")
	}
}

// narrowing are keys whose conditions make "everybody" somebody.
var narrowing = []string{
	"aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths", "aws:principaltag/", "aws:userid",
	"aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceip",
	"carrel:accounttenant", "carrel:tenantid", "carrel:endtenant",
}

// sources are keys that say for whom a service acts.
var sources = []string{"aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths"}

func (w *warner) principals() {
	p := w.s.Principals
	if p == nil || w.s.Effect == Deny {
		return
	}
	if p.Any && w.doc.Kind != RCP && !w.narrowed(narrowing) {
		w.add(WarnPublic, w.at.principal, "Name accounts or roles, or add a condition as on aws:PrincipalOrgID.",
			"everybody is allowed, without credentials too.")
	}
	for _, host := range p.Service {
		// The role of a function is handed over by who may pass it.
		passed := w.doc.Kind == Trust && host == "lambda.amazonaws.com"
		if !passed && !w.narrowed(sources) {
			w.add(WarnDeputy, w.at.principal, "Add a condition on aws:SourceAccount or aws:SourceArn.",
				"%s may act here for any account that asks it to.", host)
		}
	}
}

// narrowed tells whether a condition on one of the keys has to hold; a key
// that ends in a slash stands for all that begin with it. One that holds
// without the key does not narrow.
func (w *warner) narrowed(keys []string) bool {
	for i := range w.s.Conditions {
		c := &w.s.Conditions[i]
		if c.needsKey() && c.isOn(keys) {
			return true
		}
	}
	return false
}

// needsKey tells whether the condition fails where the key is missing.
func (c *Condition) needsKey() bool {
	if c.Operator == Null {
		for _, v := range c.Values {
			if v.Bool {
				return false
			}
		}
		return true
	}
	return !c.IfExists && c.Quantifier != ForAllValues && (c.Quantifier == ForAnyValue || !c.Operator.Inverted())
}

func (c *Condition) isOn(keys []string) bool {
	for _, key := range keys {
		if c.Key == key || strings.HasSuffix(key, "/") && strings.HasPrefix(c.Key, key) {
			return true
		}
	}
	return false
}

// vacuity looks for what is to bound and allows nothing at all.
func (w *warner) vacuity() {
	if k := w.doc.Kind; k != Boundary && k != Session {
		return
	}
	for i := range w.doc.Statements {
		if w.doc.Statements[i].Effect == Allow {
			return
		}
	}
	w.add(WarnAllowsNothing, "$.Statement", `Add {"Effect":"Allow","Action":"*","Resource":"*"} beside the Denies.`,
		"whoever %s bounds may do nothing: it has no Allow.", w.doc.Kind)
}
