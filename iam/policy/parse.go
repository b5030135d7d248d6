package policy

import (
	"fmt"
	"strings"
)

// Parse reads and checks a policy of at most the size that AWS allows where
// such policies usually stand. ParseFor takes another size.
//
// The error is a *Error with the JSON path of what is wrong; warnings are
// about what is allowed and probably not meant. Sources of the rules: IAM
// User Guide, policy grammar and elements; Organizations User Guide, syntax of
// SCPs and RCPs.
func Parse(kind Kind, text []byte) (*Document, []Warning, error) {
	return ParseFor(useOf[kind], kind, text)
}

// ParseFor is Parse for a policy that is written for a certain use. Where a
// use bounds the sum of several policies, the caller adds up Use.Size.
func ParseFor(use Use, kind Kind, text []byte) (*Document, []Warning, error) {
	if err := checkSize(use, text); err != nil {
		return nil, nil, err
	}
	root, err := decode(text)
	if err != nil {
		return nil, nil, err
	}
	p := newParser(kind)
	if err := p.document(&root); err != nil {
		return nil, nil, err
	}
	return p.doc, warn(p.doc, p.places), nil
}

// ParseForeign is ParseFor for policies that nothing is decided by in earnest:
// those of a simulation. It takes what is found in policies elsewhere and has
// one meaning only, though ParseFor refuses it: no statements at all; an
// action with odd characters, which no request has, so that the statement is
// not about any; and an ARN or account in the place of {"AWS": …}.
func ParseForeign(use Use, kind Kind, text []byte) (*Document, error) {
	if err := checkSize(use, text); err != nil {
		return nil, err
	}
	root, err := decode(text)
	if err != nil {
		return nil, err
	}
	p := newParser(kind)
	p.foreign = true
	if err := p.document(&root); err != nil {
		return nil, err
	}
	return p.doc, nil
}

func newParser(kind Kind) *parser {
	return &parser{doc: &Document{Kind: kind, Version: Version2008}, sids: map[string]bool{}}
}

// parser holds what is known of the document while its statements are read.
type parser struct {
	doc  *Document
	sids map[string]bool
	// foreign is whether ParseForeign reads.
	foreign bool
	// places are where the parts of each statement stand.
	places []place
}

// place is where the parts of a statement stand, as JSON paths; one for each
// member of the statement's lists.
type place struct {
	statement, principal string
	actions, resources   []string
	conditions           []conditionPlace
}

// conditionPlace is where a condition stands, with its key as it was written.
type conditionPlace struct {
	key, path string
	values    []string
}

// written notes how an action or a condition key is written.
func (p *parser) written(text string) {
	key := lower(text)
	if key == tenantAlias {
		key, text = tenantKey, tenantWritten
	}
	if _, known := p.doc.Written[key]; known || key == text {
		return
	}
	if p.doc.Written == nil {
		p.doc.Written = map[string]string{}
	}
	p.doc.Written[key] = text
}

// variablesWritten notes how the keys of a text's variables are written.
func (p *parser) variablesWritten(text string) {
	for {
		_, rest, found := strings.Cut(text, "${")
		end := strings.IndexAny(rest, ",}")
		if !found || end < 0 {
			return
		}
		p.written(rest[:end])
		text = rest[end:]
	}
}

// here is the place of the statement that is being read.
func (p *parser) here() *place { return &p.places[len(p.places)-1] }

// syntax is what has a meaning in texts of the document: variables came with
// Version 2012-10-17.
func (p *parser) syntax(wildcards bool) syntax {
	return syntax{variables: p.doc.Version == Version2012, wildcards: wildcards}
}

func refuse(path, remedy, format string, args ...any) *Error {
	return &Error{Path: path, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// String names the kind for people.
func (k Kind) String() string {
	return [...]string{"an identity policy", "a resource policy", "a trust policy", "a permissions boundary", "a session policy", "an SCP", "an RCP"}[k]
}

// attached tells whether policies of the kind are attached to a principal, so
// that they name none.
func (k Kind) attached() bool { return k != Resource && k != Trust && k != RCP }

func (p *parser) document(root *node) *Error {
	if root.kind != objectNode {
		return refuse("$", `Write {"Version":"2012-10-17","Statement":[…]}.`, "a policy is an object, not %s.", root.describe())
	}
	var statements *node
	for i := range root.members {
		m := &root.members[i]
		path := "$" + step(m.name)
		var err *Error
		switch m.name {
		case "Version":
			err = p.version(&m.value, path)
		case "Id":
			err = p.id(&m.value, path)
		case "Statement":
			statements = &m.value
		default:
			err = refuse(path, "Use Version, Id and Statement; names are case-sensitive.", "a policy has no element %q.", m.name)
		}
		if err != nil {
			return err
		}
	}
	if statements == nil {
		return refuse("$", "Add Statement, a list of statements.", "the policy has no Statement.")
	}
	if statements.kind != listNode {
		return p.statement(statements, "$.Statement")
	}
	if len(statements.items) == 0 && !p.foreign {
		return refuse("$.Statement", "Add a statement, or delete the policy.", "the policy has no statement.")
	}
	for i := range statements.items {
		if err := p.statement(&statements.items[i], "$.Statement"+index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) version(n *node, path string) *Error {
	v := Version(n.text)
	if n.kind != textNode || v != Version2008 && v != Version2012 {
		return refuse(path, `Write "2012-10-17".`, "the version is neither 2012-10-17 nor 2008-10-17.")
	}
	p.doc.Version = v
	return nil
}

func (p *parser) id(n *node, path string) *Error {
	if p.doc.Kind != Resource && p.doc.Kind != Trust {
		return refuse(path, "Remove it; the policy's own name identifies it.", "%s has no Id.", p.doc.Kind)
	}
	if n.kind != textNode {
		return refuse(path, "Write a string.", "the Id is %s.", n.describe())
	}
	p.doc.ID = n.text
	return nil
}

// elements are the elements of a statement as they were written.
type elements map[string]*node

// known are the elements that a statement may have.
var known = map[string]bool{
	"Sid": true, "Effect": true, "Principal": true, "NotPrincipal": true, "Action": true, "NotAction": true,
	"Resource": true, "NotResource": true, "Condition": true,
}

func (p *parser) statement(n *node, path string) *Error {
	if n.kind != objectNode {
		return refuse(path, "Write an object with Effect, Action and so on.", "a statement is an object, not %s.", n.describe())
	}
	found := elements{}
	for i := range n.members {
		m := &n.members[i]
		if !known[m.name] {
			return refuse(path+step(m.name), "Use Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource and Condition; names are case-sensitive.", "a statement has no element %q.", m.name)
		}
		found[m.name] = &m.value
	}
	var s Statement
	p.places = append(p.places, place{statement: path})
	for _, read := range [...]func(*Statement, elements, string) *Error{
		p.sid, p.effect, p.principals, p.actions, p.resources, p.conditions, p.guardrail,
	} {
		if err := read(&s, found, path); err != nil {
			return err
		}
	}
	p.doc.Statements = append(p.doc.Statements, s)
	return nil
}

// one gives which of a pair of elements was written; exactly one must be.
func (e elements) one(path, name string) (n *node, at string, not bool, err *Error) {
	yes, no := e[name], e["Not"+name]
	switch {
	case yes != nil && no != nil:
		return nil, "", false, refuse(path, "Keep one of them.", "the statement has both %s and Not%[1]s.", name)
	case yes != nil:
		return yes, path + "." + name, false, nil
	case no != nil:
		return no, path + ".Not" + name, true, nil
	}
	return nil, "", false, refuse(path, "Add one of them.", "the statement has neither %s nor Not%[1]s.", name)
}

// maxSID bounds a statement's name, in bytes.
const maxSID = 128

func (p *parser) sid(s *Statement, e elements, path string) *Error {
	n := e["Sid"]
	if n == nil {
		return nil
	}
	path += ".Sid"
	if n.kind != textNode {
		return refuse(path, "Write a string.", "the Sid is %s.", n.describe())
	}
	s.SID = n.text
	if len(s.SID) > maxSID {
		return refuse(path, "Shorten it.", "the Sid has %d bytes; %d are the most.", len(s.SID), maxSID)
	}
	for _, r := range s.SID {
		if plain := isWord(r) && r != '-' && r != '_'; !plain && (p.doc.Kind != Resource || r < ' ' || r > '~') {
			return refuse(path, "Use letters and digits only.", "the Sid holds the character %q.", r)
		}
	}
	if s.SID != "" && p.sids[s.SID] {
		return refuse(path, "Give each statement a Sid of its own.", "two statements have the Sid %q.", s.SID)
	}
	p.sids[s.SID] = true
	return nil
}

func (p *parser) effect(s *Statement, e elements, path string) *Error {
	n := e["Effect"]
	if n == nil {
		return refuse(path, `Add "Effect":"Allow" or "Effect":"Deny".`, "the statement has no Effect.")
	}
	if n.kind != textNode || n.text != "Allow" && n.text != "Deny" {
		return refuse(path+".Effect", "Write Allow or Deny; letters' case matters.", "the Effect is neither Allow nor Deny.")
	}
	if n.text == "Allow" {
		s.Effect = Allow
	}
	return nil
}

// texts gives the strings of an element that is a string or a list of them.
func texts(n *node, path string, each func(text, path string) *Error) *Error {
	if n.kind == textNode {
		return each(n.text, path)
	}
	if n.kind != listNode || len(n.items) == 0 {
		return refuse(path, "Write a string, or a list of at least one.", "this is %s.", emptyOr(n))
	}
	for i := range n.items {
		if n.items[i].kind != textNode {
			return refuse(path+index(i), "Write a string.", "this is %s.", n.items[i].describe())
		}
		if err := each(n.items[i].text, path+index(i)); err != nil {
			return err
		}
	}
	return nil
}

func emptyOr(n *node) string {
	if n.kind == listNode {
		return "an empty list"
	}
	return n.describe()
}

func (p *parser) actions(s *Statement, e elements, path string) *Error {
	n, path, not, err := e.one(path, "Action")
	if err != nil {
		return err
	}
	s.NotAction = not
	return texts(n, path, func(text, path string) *Error {
		if err := p.checkAction(text); err != nil {
			return err.at(path)
		}
		pattern, wrong := parsePattern(lower(text), syntax{wildcards: true})
		if wrong != nil {
			return wrong.at(path)
		}
		p.written(text)
		s.Actions = append(s.Actions, pattern)
		p.here().actions = append(p.here().actions, path)
		return nil
	})
}

func (p *parser) checkAction(text string) *problem {
	prefix, name, found := strings.Cut(text, ":")
	if p.doc.Kind == Trust && !strings.EqualFold(prefix, "sts") {
		return problemf("Use sts:AssumeRole, sts:AssumeRoleWithWebIdentity, sts:TagSession or sts:SetSourceIdentity.", "a trust policy is about assuming the role, not about %q.", text)
	}
	if text == "*" || text == "*:*" {
		return nil
	}
	if !found || prefix == "" || name == "" && !p.foreign {
		return problemf("Write it as service:Action, as in s3:GetObject.", "%q is not an action.", text)
	}
	if i := strings.IndexFunc(prefix, func(r rune) bool { return !isWord(r) }); i >= 0 {
		return problemf("Write the service out; only its actions may have wildcards.", "the service of the action %q holds other characters than letters, digits and -.", text)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !isWord(r) && r != '*' && r != '?' }); i >= 0 && !p.foreign {
		return problemf("Use letters, digits, * and ?; variables cannot stand here.", "the action %q holds other characters.", text)
	}
	return nil
}

func (p *parser) resources(s *Statement, e elements, path string) *Error {
	if p.doc.Kind == Trust {
		for _, name := range [...]string{"Resource", "NotResource"} {
			if e[name] != nil {
				return refuse(path+"."+name, "Remove it; the role that the policy is attached to is the resource.", "a trust policy has no %s.", name)
			}
		}
		return nil
	}
	n, path, not, err := e.one(path, "Resource")
	if err != nil {
		return err
	}
	s.NotResource = not
	return texts(n, path, func(text, path string) *Error {
		pattern, err := parseARN(text, p.syntax(true))
		if err != nil {
			return err.at(path)
		}
		p.variablesWritten(text)
		s.Resources = append(s.Resources, pattern)
		p.here().resources = append(p.here().resources, path)
		return nil
	})
}

// guardrail checks what holds for whole statements of RCPs: they deny, and
// are about everybody. The one statement that may allow is that of
// RCPFullAWSAccess, which stands at every level anyway.
func (p *parser) guardrail(s *Statement, _ elements, path string) *Error {
	if p.doc.Kind != RCP {
		return nil
	}
	if !s.Principals.Any {
		return refuse(path+".Principal", `Write "Principal":"*", and narrow it by a condition on aws:PrincipalArn or the like.`, "an RCP is about everybody.")
	}
	if s.Effect == Deny || s.allowsAll() {
		return nil
	}
	return refuse(path+".Effect", "Write Deny, and turn the conditions around.", "an RCP cannot allow; everything is allowed that it does not deny.")
}

// allowsAll tells whether a statement allows every action on everything.
func (s *Statement) allowsAll() bool {
	return s.Effect == Allow && !s.NotAction && !s.NotResource && len(s.Conditions) == 0 &&
		len(s.Actions) == 1 && len(s.Actions[0]) == 1 && s.Actions[0][0].Kind == Run &&
		len(s.Resources) == 1 && s.Resources[0].All
}
