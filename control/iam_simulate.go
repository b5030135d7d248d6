package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// The bounds of one simulation, our own.
const (
	maxSimulated = 1_000 // actions times resources
	// A request of 1 MB could ask for hours of work and gigabytes of answers
	// without bounds on the bytes of the policies times the questions times
	// the values of condition keys, on the condition keys of the policies
	// times the questions, and on the statements that are told of one answer.
	maxSimulatedWork    = 128 << 20
	maxSimulatedMissing = 50_000
	maxSimulatedMatches = 50
	maxSimulatedTexts   = 100
	maxSimulatedKeys    = 300
	maxSimulatedValues  = 1_000
	simulatedBoundary   = "PermissionsBoundaryPolicyInputList."
	simulatedIdentity   = "PolicyInputList."
	simulatedByResource = "ResourcePolicy"
)

// SimulateInput asks what policies would decide.
type SimulateInput struct {
	PageInput
	// Source is the ARN of the user, group or role whose policies are looked
	// at; empty where only Policies are.
	Source string
	// Policies are looked at beside those of the source.
	Policies []string
	// Boundaries replace the boundary of the source, if there are any.
	Boundaries []string
	// Actions are asked on each of Resources; on "*" if there are none.
	Actions   []string
	Resources []string
	// ResourcePolicy is the policy of each of the resources; empty if none.
	ResourcePolicy string
	// ResourceOwner is the account that owns the resources, as a number or an
	// ARN: the one that their ARNs name, or the own one, if empty.
	ResourceOwner string
	// Caller is the ARN of who asks: the source if empty.
	Caller string
	// Keys are condition keys of the request. They replace those that follow
	// from caller and resource.
	Keys []iam.Key
}

// SimulateResult is the answer about one action on one resource.
type SimulateResult struct {
	Action   string
	Resource string
	Verdict  policy.Verdict
	Matched  []MatchedStatement
	// MissingKeys are the condition keys that the policies name and that the
	// request did not have.
	MissingKeys []string
	// AllowedByOrganization and AllowedByBoundary say what guardrails and the
	// boundary leave. BoundaryUsed says that there was one.
	AllowedByOrganization bool
	AllowedByBoundary     bool
	BoundaryUsed          bool
	// Missing says in words what would have had to allow.
	Missing []string
}

// MatchedStatement is a statement that decided.
type MatchedStatement struct {
	// Policy is the policy's ARN, or its name if it is inline, or the name of
	// the list that it came in with its number.
	Policy string
	// Layer is where the policy stands.
	Layer policy.Layer
	// Index counts the policy's statements from 0.
	Index int
	SID   string
	// Start and End are where the statement stands in its text; zero if the
	// text is a guardrail's, which is not shown.
	Start, End Position
}

// Position is a line and a column of a text, both from 1.
type Position struct{ Line, Column int }

// SimulatePrincipalPolicy tells what the policies of a user, group or role
// decide, by what decides in earnest. The grant is for the source's ARN.
//
// Errors: NoSuchEntity; InvalidInput; MalformedPolicyDocument as InvalidInput
// as in AWS.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, g iam.Grant, in SimulateInput) (Page[SimulateResult], error) {
	account := g.Request().Owner.Account
	all, err := s.looking(ctx, g, ActionSimulatePrincipalPolicy, in.Source)
	if err != nil {
		return Page[SimulateResult]{}, err
	}
	sim := simulation{s: s, op: opOf(ActionSimulatePrincipalPolicy), in: in, account: account, asker: g.Request().Principal}
	if err := sim.source(all); err != nil {
		return Page[SimulateResult]{}, err
	}
	return sim.run()
}

// SimulateCustomPolicy tells what policies that are not attached would decide.
// The grant is for IdentityAccountResource.
func (s *Service) SimulateCustomPolicy(ctx context.Context, g iam.Grant, in SimulateInput) (Page[SimulateResult], error) {
	account := g.Request().Owner.Account
	if _, err := s.looking(ctx, g, ActionSimulateCustomPolicy, IdentityAccountResource(account)); err != nil {
		return Page[SimulateResult]{}, err
	}
	in.Source = ""
	sim := simulation{s: s, op: opOf(ActionSimulateCustomPolicy), in: in, account: account, asker: g.Request().Principal}
	if len(in.Policies) == 0 {
		return Page[SimulateResult]{}, invalidInput(sim.op, "At least one policy is needed.")
	}
	sim.caller = simulatedCaller{Principal: sim.asker}
	return sim.run()
}

// simulation is one question on its way.
type simulation struct {
	s       *Service
	op      string
	in      SimulateInput
	account tenant.AccountID
	asker   call.Principal
	caller  simulatedCaller
	texts   directory.Texts
	tags    []call.Tag
	// Made of the input:
	subject  *iam.Subject
	resource *policy.Set
	owner    tenant.AccountID
	named    map[string]string // the texts by their names
	keys     []string          // condition keys of all policies, each once
	places   map[place][2]Position
	// size is the bytes of all policies, values the number of Keys' values.
	size, values int
}

// place names a statement.
type place struct {
	policy string
	index  int
}

type simulatedCaller struct {
	call.Principal
	issuer string
}

// source takes in whose policies are looked at.
func (m *simulation) source(all *directory.Account) error {
	shared, arn := m.s.shared(), m.in.Source
	var ok bool
	m.caller = simulatedCaller{Principal: call.Principal{Type: call.TypeUser, Account: m.account, Tenant: m.asker.Tenant, ARN: arn}}
	path := strings.SplitN(arn, ":", 6)
	sort, _, _ := strings.Cut(path[len(path)-1], "/")
	_, _, name := SplitIdentityResource(arn)
	switch h := (holder{sort, name}); sort {
	case sortUser:
		u, found := all.User(arn)
		if !found {
			return h.missing(m.op)
		}
		m.texts, ok = all.UserTexts(u.Record, shared)
		m.tags, m.caller.UserID = u.Record.Tags, u.Record.ID
	case sortRole:
		r, found := all.Role(arn)
		if !found {
			return h.missing(m.op)
		}
		m.texts, ok = all.RoleTexts(r.Record, shared)
		m.tags, m.caller.Type, m.caller.issuer = r.Record.Tags, call.TypeRole, arn
		m.caller.ARN = "arn:aws:sts::" + string(m.account) + ":assumed-role/" + name + "/simulation"
		m.caller.UserID = r.Record.ID + ":simulation"
	case sortGroup:
		r, found := all.Groups.Get(name)
		if !found || r.Record.ARN != arn {
			return h.missing(m.op)
		}
		m.texts, ok = all.GroupTexts(r.Record, shared)
		m.caller.ARN = userARN(m.account, "simulation")
	default:
		return invalidInput(m.op, "%s is not the ARN of a user, group or role.", printable(arn))
	}
	if !ok {
		return fault.New(m.op, fault.Internal, "A policy of %s is missing.", arn)
	}
	return nil
}

// run answers a page of the questions: each action on each resource.
func (m *simulation) run() (Page[SimulateResult], error) {
	if len(m.in.Resources) == 0 {
		m.in.Resources = []string{"*"}
	}
	n := len(m.in.Actions) * len(m.in.Resources)
	switch {
	case len(m.in.Actions) == 0:
		return Page[SimulateResult]{}, invalidInput(m.op, "At least one action is needed.")
	case n > maxSimulated:
		return Page[SimulateResult]{}, invalidInput(m.op, "%d actions on %d resources are too many: %d are the most in all.", len(m.in.Actions), len(m.in.Resources), maxSimulated)
	}
	if err := m.prepare(); err != nil {
		return Page[SimulateResult]{}, err
	}
	if n*m.size*(1+m.values) > maxSimulatedWork || n*len(m.keys) > maxSimulatedMissing {
		return Page[SimulateResult]{}, invalidInput(m.op, "%d actions and resources with policies of %d bytes, %d condition keys and %d values are too many at once.", n, m.size, len(m.keys), m.values)
	}
	var order []string
	at := make(map[string]int, n)
	for i := range n {
		name := fmt.Sprintf("%06d", i)
		order, at[name] = append(order, name), i
	}
	list := "simulation/" + m.in.Source + strings.Join(m.in.Actions, ",") + strings.Join(m.in.Resources, ",")
	return identityPage(list, m.in.PageInput, order, func(name string) (SimulateResult, error) {
		i := at[name]
		return m.ask(m.in.Actions[i/len(m.in.Resources)], m.in.Resources[i%len(m.in.Resources)]), nil
	})
}

// prepare compiles everything once.
func (m *simulation) prepare() error {
	if len(m.in.Policies)+len(m.in.Boundaries) > maxSimulatedTexts {
		return invalidInput(m.op, "More than %d policies are given.", maxSimulatedTexts)
	}
	if err := m.checkKeys(); err != nil {
		return err
	}
	sources := make([]policy.Source, 0, 8)
	m.named, m.places = map[string]string{}, map[place][2]Position{}
	for _, t := range m.texts.Identity {
		doc, ok := m.s.compiler.Parse(t.Kind, t.Text)
		if !ok {
			return fault.New(m.op, fault.Internal, "The policy %s cannot be read.", t.Name)
		}
		sources = append(sources, m.take(t.Name, t.Text, doc))
	}
	for i, text := range m.in.Policies {
		source, err := m.given(policy.Identity, fmt.Sprint(simulatedIdentity, i+1), text)
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	levels, _ := m.s.levelsOf(m.account)
	m.subject = &iam.Subject{Identity: policy.Compile(sources...), Tags: m.tags, Management: m.account == m.s.managementAccount()}
	if levels != nil && m.in.Source != "" {
		m.subject.SCPs, m.subject.OrgPath = levels.SCPs, levels.OrgPath
	}
	if err := m.bound(); err != nil {
		return err
	}
	if err := m.about(); err != nil {
		return err
	}
	slices.Sort(m.keys)
	m.keys = slices.Compact(m.keys)
	return nil
}

func (m *simulation) checkKeys() error {
	if len(m.in.Keys) > maxSimulatedKeys {
		return invalidInput(m.op, "More than %d condition keys are given.", maxSimulatedKeys)
	}
	for _, k := range m.in.Keys {
		if k.Name == "" || len(k.Name) > 256 || len(k.Values) > maxSimulatedValues {
			return invalidInput(m.op, "The condition key %s is malformed.", printable(k.Name))
		}
		m.values += len(k.Values)
	}
	return nil
}

// take notes a policy that is looked at.
func (m *simulation) take(name, text string, doc *policy.Document) policy.Source {
	m.named[name] = text
	m.size += len(text)
	m.keys = append(m.keys, contextKeys(doc)...)
	return policy.Source{Name: name, Document: doc}
}

// given parses a policy of the input.
func (m *simulation) given(kind policy.Kind, name, text string) (policy.Source, error) {
	doc, err := parseGiven(m.op, kind, name, text)
	if err != nil {
		return policy.Source{}, err
	}
	return m.take(name, text, doc), nil
}

// parseGiven parses a policy that is only to be looked at.
func parseGiven(op string, kind policy.Kind, name, text string) (*policy.Document, error) {
	doc, _, err := policy.ParseFor(policy.ResourceUse, kind, []byte(text))
	if err != nil {
		return nil, invalidInput(op, "%s is no policy: %s", name, err)
	}
	return doc, nil
}

// bound takes in the boundary.
func (m *simulation) bound() error {
	var sources []policy.Source
	if b := m.texts.Boundary; b != nil && len(m.in.Boundaries) == 0 {
		doc, ok := m.s.compiler.Parse(b.Kind, b.Text)
		if !ok {
			return fault.New(m.op, fault.Internal, "The policy %s cannot be read.", b.Name)
		}
		sources = append(sources, m.take(b.Name, b.Text, doc))
	}
	for i, text := range m.in.Boundaries {
		source, err := m.given(policy.Boundary, fmt.Sprint(simulatedBoundary, i+1), text)
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	if len(sources) > 0 {
		m.subject.Boundary = policy.Compile(sources...)
	}
	return nil
}

// about takes in resource and caller.
func (m *simulation) about() error {
	if m.in.ResourcePolicy != "" {
		if m.in.Source == "" && m.in.Caller == "" {
			return invalidInput(m.op, "A resource policy needs a caller to be asked about.")
		}
		source, err := m.given(policy.Resource, simulatedByResource, m.in.ResourcePolicy)
		if err != nil {
			return err
		}
		m.resource = policy.Compile(source)
	}
	if owner := m.in.ResourceOwner; owner != "" {
		m.owner = tenant.AccountID(owner)
		if strings.HasPrefix(owner, "arn:") {
			m.owner = directory.AccountIn(owner)
		}
		if _, err := tenant.ParseAccountID(string(m.owner)); err != nil {
			return invalidInput(m.op, "The resource owner %s is no account.", printable(owner))
		}
	}
	if m.in.Caller != "" {
		if _, err := tenant.ParseAccountID(string(directory.AccountIn(m.in.Caller))); err != nil || !strings.Contains(m.in.Caller, ":user/") {
			return invalidInput(m.op, "The caller %s is not the ARN of a user.", printable(m.in.Caller))
		}
		m.caller = simulatedCaller{Principal: call.Principal{
			Type: call.TypeUser, Account: directory.AccountIn(m.in.Caller), Tenant: m.asker.Tenant, ARN: m.in.Caller,
		}}
	}
	return nil
}

// ask answers one question.
func (m *simulation) ask(action, resource string) SimulateResult {
	owner := m.owner
	if owner == "" {
		owner = directory.AccountIn(resource)
	}
	if _, err := tenant.ParseAccountID(string(owner)); err != nil {
		owner = m.account
	}
	e := m.s.authority.Simulate(iam.Simulation{
		Request: iam.Request{Principal: m.caller.Principal, Action: action, Resource: resource, Owner: tenant.Identity{Account: owner}, Keys: m.in.Keys},
		Subject: m.subject, Object: iam.Object{Policy: m.resource}, Issuer: m.caller.issuer,
	}, m.keys)
	r := SimulateResult{
		Action: action, Resource: resource, Verdict: e.Verdict, MissingKeys: e.Absent, Missing: e.Missing,
		AllowedByOrganization: !e.Has(policy.LayerSCP), AllowedByBoundary: !e.Has(policy.LayerBoundary), BoundaryUsed: m.subject.Boundary != nil,
	}
	for _, st := range e.Statements[:min(len(e.Statements), maxSimulatedMatches)] {
		matched := MatchedStatement{Policy: st.Policy, Layer: st.Layer, Index: st.Index, SID: st.SID}
		if text, known := m.named[st.Policy]; known && st.Layer != policy.LayerSCP {
			matched.Start, matched.End = m.at(st.Policy, text, st.Index)
		}
		r.Matched = append(r.Matched, matched)
	}
	return r
}

// at is statementAt, which reads the text once for all answers.
func (m *simulation) at(name, text string, index int) (start, end Position) {
	p, known := m.places[place{name, index}]
	if !known {
		p[0], p[1] = statementAt(text, index)
		m.places[place{name, index}] = p
	}
	return p[0], p[1]
}

// GetContextKeysForCustomPolicy lists the condition keys that policies name,
// in lower case. The grant is for IdentityAccountResource.
func (s *Service) GetContextKeysForCustomPolicy(ctx context.Context, g iam.Grant, texts []string) ([]string, error) {
	if _, err := s.looking(ctx, g, ActionContextKeysForCustomPolicy, IdentityAccountResource(g.Request().Owner.Account)); err != nil {
		return nil, err
	}
	return keysOfTexts(opOf(ActionContextKeysForCustomPolicy), nil, texts)
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies
// of a user, group or role name, and more policies if any are given. The grant
// is for its ARN.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, g iam.Grant, source string, more []string) ([]string, error) {
	all, err := s.looking(ctx, g, ActionContextKeysForPrincipal, source)
	if err != nil {
		return nil, err
	}
	m := simulation{s: s, op: opOf(ActionContextKeysForPrincipal), in: SimulateInput{Source: source}, account: g.Request().Owner.Account}
	if err := m.source(all); err != nil {
		return nil, err
	}
	return keysOfTexts(m.op, m.texts.Identity, more)
}

func keysOfTexts(op string, attached []directory.Text, given []string) ([]string, error) {
	if len(given) > maxSimulatedTexts {
		return nil, invalidInput(op, "More than %d policies are given.", maxSimulatedTexts)
	}
	for i, text := range given {
		attached = append(attached, directory.Text{Name: fmt.Sprint(simulatedIdentity, i+1), Text: text})
	}
	keys := []string{}
	for _, t := range attached {
		doc, err := parseGiven(op, policy.Identity, t.Name, t.Text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, contextKeys(doc)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// contextKeys lists the condition keys that a policy names: in conditions, and
// as variables.
func contextKeys(doc *policy.Document) []string {
	var keys []string
	add := func(p policy.Pattern) {
		for _, t := range p {
			if t.Kind == policy.Variable {
				keys = append(keys, t.Text)
			}
		}
	}
	for _, st := range doc.Statements {
		for _, r := range st.Resources {
			for _, part := range r.Parts {
				add(part)
			}
		}
		for _, c := range st.Conditions {
			keys = append(keys, c.Key)
			for _, v := range c.Values {
				add(v.Pattern)
				for _, part := range v.Parts {
					add(part)
				}
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
