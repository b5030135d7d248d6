// Package simulate decides requests that are written down together with all
// policies that apply: what carrel iam simulate --batch does. It needs no node
// and no state, and decides by the engine that decides in earnest.
package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// Case is one request with its policies. A list that is absent, or null, is
// not the same as an empty one: without permissionBoundaries there is no
// boundary, and an empty list of them allows nothing.
type Case struct {
	Name    string  `json:"name"`
	Request Request `json:"request"`
	// IdentityPolicies are those of the principal, its groups' included.
	IdentityPolicies []json.RawMessage `json:"identityPolicies"`
	// ResourcePolicy is that of the resource, or the trust policy of a role,
	// which then need not name its resource.
	ResourcePolicy json.RawMessage `json:"resourcePolicy"`
	// PermissionBoundaries and SessionPolicies bound; any of them may allow.
	PermissionBoundaries []json.RawMessage `json:"permissionBoundaries"`
	SessionPolicies      []json.RawMessage `json:"sessionPolicies"`
	// ServiceControlPolicies are the levels above the principal's account:
	// something has to allow at every one. At those of
	// ResourceControlPolicies everything is allowed that is not denied.
	ServiceControlPolicies  []Level `json:"serviceControlPolicies"`
	ResourceControlPolicies []Level `json:"resourceControlPolicies"`
}

// Request is what is asked.
type Request struct {
	Action   string   `json:"action"`
	Resource Resource `json:"resource"`
	// Principal is an ARN of an account's root, a user, a role, a session of
	// one, a federated user or an identity provider; a service's host; or
	// "anonymous".
	Principal Principal `json:"principal"`
	// Context are the condition keys. They replace what follows from the rest
	// of the request.
	Context map[string]Values `json:"context"`
}

// Principal is who asks.
type Principal string

// UnmarshalJSON reads a string, and {"type":"Anonymous"} for "anonymous".
func (p *Principal) UnmarshalJSON(text []byte) error {
	if text[0] != '{' {
		return json.Unmarshal(text, (*string)(p))
	}
	var object struct{ Type string }
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	if !strings.EqualFold(object.Type, anonymous) {
		return fmt.Errorf("a principal is a string, not %s", text)
	}
	*p = anonymous
	return nil
}

// Resource is what is acted on, and the account that owns it: without one,
// that of its ARN, or else the principal's.
type Resource struct {
	Resource  string `json:"resource"`
	AccountID string `json:"accountId"`
}

// Level is what is attached to one root, unit or account.
type Level struct {
	OrgIdentifier string            `json:"orgIdentifier"`
	Policies      []json.RawMessage `json:"policies"`
}

// Values are those of a context key: one that is written as text, or a set
// that is written as a list, however many there are in it.
type Values struct {
	Set   bool
	Texts []string
}

// UnmarshalJSON reads a string or a list of strings. Numbers and truth values
// are taken as they are written.
func (v *Values) UnmarshalJSON(text []byte) error {
	if text[0] == '[' {
		var list []Values
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		v.Set, v.Texts = true, make([]string, 0, len(list))
		for _, one := range list {
			if one.Set || len(one.Texts) != 1 {
				return fmt.Errorf("a list of values holds %s", text)
			}
			v.Texts = append(v.Texts, one.Texts[0])
		}
		return nil
	}
	one := string(text)
	switch text[0] {
	case '"':
		if err := json.Unmarshal(text, &one); err != nil {
			return err
		}
	case '{', 'n':
		return fmt.Errorf("a context key has the value %s; write a string or a list of strings", text)
	}
	v.Texts = []string{one}
	return nil
}

// Result is the answer: a decision with what decided, or an error.
type Result struct {
	Name string `json:"name"`
	// Decision is Allowed, ImplicitlyDenied or ExplicitlyDenied.
	Decision string `json:"decision,omitempty"`
	// BlockedBy are the layers that denied or did not allow, in the order of
	// blockers.
	BlockedBy []string `json:"blockedBy,omitempty"`
	// Statements are those that decided: the Denies that matched, or else the
	// Allows; nil only beside an error.
	Statements *[]Statement `json:"statements,omitempty"`
	Error      string       `json:"error,omitempty"`
}

// Statement names one statement of the input.
type Statement struct {
	// Policy is the place in the input, as in identityPolicies[0].
	Policy string `json:"policy"`
	// Level is the orgIdentifier of a guardrail.
	Level string `json:"level,omitempty"`
	// Index counts the policy's statements from 0.
	Index  int    `json:"index"`
	SID    string `json:"sid,omitempty"`
	Effect string `json:"effect"`
}

var verdicts = [...]string{
	policy.Allowed: "Allowed", policy.ImplicitlyDenied: "ImplicitlyDenied", policy.ExplicitlyDenied: "ExplicitlyDenied",
}

// blockers are the names of the layers, in the order of BlockedBy.
var blockers = [...]struct {
	layer policy.Layer
	name  string
}{
	{policy.LayerSCP, "scp"}, {policy.LayerRCP, "rcp"}, {policy.LayerBoundary, "pb"},
	{policy.LayerSession, "session"}, {policy.LayerIdentity, "identity"}, {policy.LayerResource, "resource"},
}

// Decide answers one case. A policy or principal that is refused is an error
// in the result.
func Decide(c *Case) Result {
	out := Result{Name: c.Name}
	r, l, err := c.prepare()
	if err != nil {
		out.Error = err.Error()
		return out
	}
	e := policy.Explain(r, l)
	statements := []Statement{}
	switch {
	case strings.EqualFold(r.Action, "sts:GetCallerIdentity"):
		// Whoever has a credential may ask whose it is; no policy decides.
		e.Verdict, e.Blocked = policy.Allowed, 0
	case e.Verdict != policy.ExplicitlyDenied && refusedByResource(r, &e):
		e.Verdict, e.Blocked = policy.ImplicitlyDenied, e.Blocked|1<<policy.LayerResource
	default:
		for _, s := range e.Statements {
			statements = append(statements, Statement{
				Policy: s.Policy, Level: s.Level, Index: s.Index, SID: s.SID, Effect: s.Effect.String(),
			})
		}
	}
	out.Decision, out.Statements = verdicts[e.Verdict], &statements
	for _, b := range blockers {
		if e.Has(b.layer) {
			out.BlockedBy = append(out.BlockedBy, b.name)
		}
	}
	return out
}

// prepare reads the policies and fills in the request.
func (c *Case) prepare() (*policy.Request, *policy.Layers, error) {
	p, err := principalOf(string(c.Request.Principal), c.Request.Action)
	if err != nil {
		return nil, nil, err
	}
	if c.Request.Action == "" || c.Request.Resource.Resource == "" {
		return nil, nil, fmt.Errorf("the request names no action or no resource")
	}
	r := &policy.Request{
		Action: c.Request.Action, Resource: c.Request.Resource.Resource,
		ResourceAccount: c.Request.Resource.AccountID, Principal: p,
	}
	if r.ResourceAccount == "" {
		r.ResourceAccount = p.Account
		if parts := strings.SplitN(r.Resource, ":", 6); len(parts) == 6 && parts[4] != "" {
			r.ResourceAccount = parts[4]
		}
	}
	r.Principal.Issuer = c.issuer(&r.Principal)
	r.Context = c.context(r)
	l, err := c.layers(r)
	return r, l, err
}

func (c *Case) layers(r *policy.Request) (*policy.Layers, error) {
	l := &policy.Layers{
		TrustOnly:       mustBeTrusted(r.Action),
		SessionRequired: r.Principal.Type == policy.Federated,
	}
	var err error
	if l.Identity, err = compile("identityPolicies", policy.Identity, c.IdentityPolicies); err != nil {
		return nil, err
	}
	if l.Boundary, err = compile("permissionBoundaries", policy.Boundary, c.PermissionBoundaries); err != nil {
		return nil, err
	}
	if l.Session, err = compile("sessionPolicies", policy.Session, c.SessionPolicies); err != nil {
		return nil, err
	}
	if l.SCPs, err = levels("serviceControlPolicies", policy.SCP, c.ServiceControlPolicies); err != nil {
		return nil, err
	}
	if l.RCPs, err = levels("resourceControlPolicies", policy.RCP, c.ResourceControlPolicies); err != nil {
		return nil, err
	}
	l.Resource, err = resourcePolicy(c.ResourcePolicy)
	return l, err
}

// uses give each kind the most room that a policy of it can have.
var uses = [...]policy.Use{
	policy.Identity: policy.RoleInlineUse, policy.Resource: policy.ResourceUse, policy.Trust: policy.LongTrustUse,
	policy.Boundary: policy.ManagedUse, policy.Session: policy.ManagedUse, policy.SCP: policy.GuardrailUse, policy.RCP: policy.GuardrailUse,
}

// compile makes a Set of policies; nil if there is no list.
func compile(name string, kind policy.Kind, list []json.RawMessage) (*policy.Set, error) {
	if list == nil {
		return nil, nil
	}
	sources := make([]policy.Source, len(list))
	for i, text := range list {
		at := fmt.Sprintf("%s[%d]", name, i)
		doc, err := policy.ParseForeign(uses[kind], kind, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		sources[i] = policy.Source{Name: at, Document: doc}
	}
	return policy.Compile(sources...), nil
}

func levels(name string, kind policy.Kind, list []Level) ([]policy.Level, error) {
	out := make([]policy.Level, len(list))
	for i := range list {
		set, err := compile(fmt.Sprintf("%s[%d].policies", name, i), kind, list[i].Policies)
		if err != nil {
			return nil, err
		}
		out[i] = policy.Level{Name: list[i].OrgIdentifier, Set: set}
	}
	return out, nil
}

// resourcePolicy reads the policy of a resource. One that names no resource
// is the trust policy of a role.
func resourcePolicy(text json.RawMessage) (*policy.Set, error) {
	const name = "resourcePolicy"
	if len(text) == 0 || bytes.Equal(text, []byte("null")) {
		return nil, nil
	}
	doc, err := policy.ParseForeign(uses[policy.Resource], policy.Resource, text)
	if err != nil {
		trust, trustErr := policy.ParseForeign(uses[policy.Trust], policy.Trust, text)
		if trustErr != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		doc = trust
	}
	return policy.Compile(policy.Source{Name: name, Document: doc}), nil
}
