package policy

import "strings"

// delimiters part the segments of names.
const delimiters = "/:"

// patterns looks at the resources of a statement.
func (w *warner) patterns() {
	for i := range w.s.Resources {
		r, path := &w.s.Resources[i], w.at.resources[i]
		if w.doc.Version == Version2008 {
			w.literalVariable(r.text(syntax{wildcards: true}), path)
		}
		name := r.Parts[5]
		// A Deny that covers too little is one that may not hold, and one with
		// NotResource leaves out too much.
		if (w.s.Effect == Allow) != w.s.NotResource {
			w.bounds(name, r.String(), path)
		}
		if w.s.Effect == Deny && !w.s.NotResource {
			w.denies(name, r.String(), path)
		}
	}
}

// bounds looks at what stands beside the variables of a pattern.
func (w *warner) bounds(p Pattern, text, path string) {
	for i, t := range p {
		if t.Kind != Variable {
			continue
		}
		w.empty(t, text, path)
		switch before, delimited := p[:i].lastWildcard(); {
		case before && !delimited:
			w.add(WarnSuffix, path, "Put a / between them, or remove the wildcard.",
				"the wildcard before ${%s} in %s matches the beginning of other values: of xacme for acme.", t.Text, text)
		case before:
			w.add(WarnSlot, path, "Write out what stands before the variable.",
				"the wildcard before ${%s} in %s also matches other values, so that ${%[1]s} need not stand where it should.", t.Text, text)
		}
		if after, delimited := p[i+1:].firstWildcard(); after && !delimited {
			w.add(WarnPrefix, path, "Put a / before the wildcard.",
				"the wildcard after ${%s} in %s matches the end of other values: of acme2 for acme.", t.Text, text)
		}
	}
}

// firstWildcard tells whether a pattern has a wildcard, and whether a
// delimiter stands before it.
func (p Pattern) firstWildcard() (found, delimited bool) {
	for _, t := range p {
		switch t.Kind {
		case Run, One:
			return true, delimited
		case Literal:
			delimited = delimited || strings.ContainsAny(t.Text, delimiters)
		case Variable: // its value may be anything
		}
	}
	return false, delimited
}

// lastWildcard tells whether a pattern has a wildcard, and whether a delimiter
// stands behind the last one.
func (p Pattern) lastWildcard() (found, delimited bool) {
	for i := len(p) - 1; i >= 0; i-- {
		switch p[i].Kind {
		case Run, One:
			return true, delimited
		case Literal:
			delimited = delimited || strings.ContainsAny(p[i].Text, delimiters)
		case Variable:
		}
	}
	return false, delimited
}

// empty looks for variables that may have the empty value: what is then left
// of the pattern is somebody else's. The tenant's keys are never empty.
func (w *warner) empty(t Token, text, path string) {
	tag := strings.Contains(t.Text, "tag/") && !(&Condition{Key: t.Text}).isOn(tenantKeys)
	if tag || t.HasDefault && t.Default == "" {
		w.add(WarnEmpty, path, "Use ${tenant_id}, or forbid the empty value by a condition, as StringLike with ?*.",
			"${%s} in %s may be empty, and a tag's value may hold a /.", t.Text, text)
	}
}

// denies looks for variables in what is denied: without a value the pattern
// matches nothing, and so nothing is denied.
func (w *warner) denies(p Pattern, text, path string) {
	for _, t := range p {
		if t.Kind == Variable && !t.HasDefault {
			w.add(WarnDenyVariable, path, "Deny with NotResource or by a condition, or give the variable a default.",
				"where ${%s} has no value, %s matches nothing and this denies nothing.", t.Text, text)
		}
	}
}

// literalVariable looks for what would be a variable in Version 2012-10-17.
func (w *warner) literalVariable(text, path string) {
	if strings.Contains(text, "${") {
		w.add(WarnLiteralVariable, path, `Write "Version":"2012-10-17".`, "in Version 2008-10-17 %s holds no variable: ${ is text.", text)
	}
}
