package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// The operators' policies are the managed policies of the management account
// whose path is "/". They can be attached to users, groups and roles of every
// account by the operations of IAM, and as guardrails by those here. Grants
// for them are for policy/NAME, as it was given.

// maxGuardrails is how many SCPs, and how many RCPs, a target may have. It is
// AWS's bound.
const maxGuardrails = 5

// SharedPolicy is a policy of the operators.
type SharedPolicy struct {
	directory.Policy
	// Targets are the ids of what it is attached to as a guardrail, and
	// Attachments counts users, groups and roles of all accounts that have it,
	// as a policy or as their boundary.
	Targets     []string
	Attachments int
	// Warnings are pitfalls in the text; only PutSharedPolicy gives them.
	Warnings []policy.Warning
}

// PutPolicyInput is the text of a policy, under a name.
type PutPolicyInput struct {
	Name        string
	Description string
	Text        string
}

// PutSharedPolicy makes a policy of the operators, or a new version of one
// that takes the place of the one before at once. The oldest of five versions
// goes. The grant is for ActionPutPolicy on policy/NAME.
//
// Errors: fault.Invalid for what is no policy, or cannot be where it is
// attached.
func (s *Service) PutSharedPolicy(ctx context.Context, g iam.Grant, in PutPolicyInput) (p SharedPolicy, err error) {
	e, err := s.editing(ctx, g, ActionPutPolicy, s.ours("policy/"+in.Name))
	if err != nil {
		return SharedPolicy{}, err
	}
	defer e.end(&err)
	if err := checkName(e.op, "policyName", in.Name, maxPolicyName); err != nil {
		return SharedPolicy{}, err
	}
	if err := checkDescription(e.op, in.Description); err != nil {
		return SharedPolicy{}, err
	}
	warnings, err := checkShared(e.op, in.Text)
	if err != nil {
		return SharedPolicy{}, err
	}
	old, found := e.in.Policies.Taken(in.Name)
	if !found {
		made := newSharedPolicy(e, in)
		return SharedPolicy{Policy: made, Warnings: warnings}, e.create(ctx, policyFamily, foldedName(made.Name), made)
	}
	if old.Record.Name != in.Name || old.Record.Path != "/" {
		return SharedPolicy{}, fault.New(e.op, fault.Conflict, "There is a policy %s already.", old.Record.ARN).WithCode("ConflictException")
	}
	if err := s.fits(e.op, old.Record.ARN, in.Text); err != nil {
		return SharedPolicy{}, err
	}
	if old.Record.Text() == in.Text {
		return s.viewShared(e.in, old.Record, warnings), nil
	}
	w := rewrite(old, func(r *directory.Policy) { addVersion(r, in, s.cfg.Now().UTC()) })
	if err := e.s.commit(ctx, w); err != nil {
		return SharedPolicy{}, err
	}
	changed := w.record.(directory.Policy)
	return s.viewShared(e.in, &changed, warnings), nil
}

func newSharedPolicy(e *edit, in PutPolicyInput) directory.Policy {
	now := e.s.cfg.Now().UTC()
	return directory.Policy{
		Account: e.s.management, Name: in.Name, Path: "/", ARN: NewIdentityResource(e.s.management, sortPolicy, "/", in.Name), ID: newID(policyID),
		Description: in.Description, Versions: []directory.PolicyVersion{{ID: "v1", Text: in.Text, CreatedAt: now}},
		Default: "v1", Next: 2, CreatedAt: now, UpdatedAt: now,
	}
}

// addVersion makes a text the version that counts.
func addVersion(r *directory.Policy, in PutPolicyInput, now time.Time) {
	r.Versions = slices.Clone(r.Versions)
	if len(r.Versions) >= maxPolicyVersions { // the oldest goes, the one that counted stays
		i := slices.IndexFunc(r.Versions, func(v directory.PolicyVersion) bool { return v.ID != r.Default })
		r.Versions = slices.Delete(r.Versions, i, i+1)
	}
	id := fmt.Sprint("v", r.Next)
	r.Versions = append(r.Versions, directory.PolicyVersion{ID: id, Text: in.Text, CreatedAt: now})
	r.Default, r.Next, r.UpdatedAt = id, r.Next+1, now
	if in.Description != "" {
		r.Description = in.Description
	}
}

// checkShared refuses what can be neither attached nor be a guardrail.
func checkShared(op, text string) ([]policy.Warning, error) {
	_, warnings, err := policy.ParseFor(policy.ManagedUse, policy.Identity, []byte(text))
	if err == nil {
		return warnings, nil
	}
	if _, warnings, asRCP := policy.ParseFor(policy.ManagedUse, policy.RCP, []byte(text)); asRCP == nil {
		return warnings, nil
	}
	return nil, malformedPolicy(op, "%v", err)
}

// fits refuses a text for a policy that is attached where such a text cannot be.
func (s *Service) fits(op, arn, text string) error {
	for _, target := range s.ix.org.Load().AttachedTo(arn) {
		at := s.ix.org.Load().At(target)
		for kind, list := range map[policy.Kind][]string{policy.SCP: at.SCPs, policy.RCP: at.RCPs} {
			if !slices.Contains(list, arn) {
				continue
			}
			if _, _, err := policy.Parse(kind, []byte(text)); err != nil {
				return malformedPolicy(op, "The policy is attached to %s as %s, and cannot be with this text: %v", s.showTarget(target), guardrailNames[kind], err)
			}
		}
	}
	return nil
}

var guardrailNames = map[policy.Kind]string{policy.SCP: "an SCP", policy.RCP: "an RCP"}

func (s *Service) viewShared(in *directory.Account, r *directory.Policy, warnings []policy.Warning) SharedPolicy {
	v := SharedPolicy{Policy: *r, Targets: s.ix.org.Load().AttachedTo(r.ARN), Warnings: warnings}
	s.usedIn(in, r, func(string, string, bool) { v.Attachments++ })
	return v
}

// sharedNamed finds a policy of the operators, or FullAWSAccess.
func (e *edit) sharedNamed(name string) (*directory.Policy, error) {
	if p, found := directory.Builtin(directory.FullAWSAccess); found && name == p.Name {
		return p, nil
	}
	if p, found := e.in.Policies.Get(name); found {
		return p.Record, nil
	}
	return nil, noShared(e.op, name)
}

func noShared(op, name string) error {
	return fault.New(op, fault.NotFound, "There is no policy %q.", printable(name)).WithCode("ResourceNotFoundException").
		WithRemedy("carrel policy list shows the policies.")
}

// GetSharedPolicy gives a policy of the operators by its name. The grant is
// for ActionReadPolicy on policy/NAME.
func (s *Service) GetSharedPolicy(ctx context.Context, g iam.Grant, name string) (SharedPolicy, error) {
	in, err := s.looking(ctx, g, ActionReadPolicy, s.ours("policy/"+name))
	if err != nil {
		return SharedPolicy{}, err
	}
	p, found := in.Policies.Get(name)
	if !found {
		return SharedPolicy{}, noShared("control.GetPolicy", name)
	}
	return s.viewShared(in, p.Record, nil), nil
}

// ListSharedPolicies lists the operators' policies by name. The grant is for
// ActionReadPolicies on policy/*.
func (s *Service) ListSharedPolicies(ctx context.Context, g iam.Grant, in PageInput) (Page[SharedPolicy], error) {
	all, err := s.looking(ctx, g, ActionReadPolicies, s.ours("policy/*"))
	if err != nil {
		return Page[SharedPolicy]{}, err
	}
	found := map[string]*directory.Policy{}
	all.Policies.Each(func(p *directory.Entry[directory.Policy]) bool { found[p.Record.Name] = p.Record; return true })
	return pageOf("control.ListPolicies", in, slices.Collect(maps.Keys(found)), func(name string) (SharedPolicy, error) {
		return s.viewShared(all, found[name], nil), nil
	})
}

// DeleteSharedPolicy removes a policy of the operators with all its versions.
// The grant is for ActionDropPolicy on policy/NAME.
//
// Errors: fault.NotFound; fault.Conflict while it is attached.
func (s *Service) DeleteSharedPolicy(ctx context.Context, g iam.Grant, name string) (err error) {
	s.sharedPolicies.Lock()
	defer s.sharedPolicies.Unlock()
	e, err := s.editing(ctx, g, ActionDropPolicy, s.ours("policy/"+name))
	if err != nil {
		return err
	}
	defer e.end(&err)
	p, found := e.in.Policies.Get(name)
	if !found {
		return noShared(e.op, name)
	}
	v := s.viewShared(e.in, p.Record, nil)
	if len(v.Targets) > 0 {
		return inUse(e.op, name, s.showTargets(v.Targets))
	}
	if v.Attachments > 0 {
		return inUse(e.op, name, fmt.Sprintf("%d users, groups and roles", v.Attachments))
	}
	return erase(ctx, e, p)
}

func inUse(op, name, where string) error {
	return fault.New(op, fault.Conflict, "The policy %q is attached to %s.", name, where).WithCode("PolicyInUseException").
		WithRemedy("Detach it first.")
}

// GuardrailInput attaches a policy to a target, or detaches it. The policy is
// one of the operators' by name, or FullAWSAccess. As is policy.SCP or
// policy.RCP. The target is root, a unit or a tenant.
type GuardrailInput struct {
	Policy string
	Target string
	As     policy.Kind
}

// AttachGuardrail makes a policy a guardrail of a target: as an SCP it bounds
// the principals below, as an RCP the resources. The grant is for
// ActionAttachPolicy on policy/NAME. What is attached already is no error.
//
// Errors: fault.NotFound; fault.Invalid for a text that cannot be one;
// fault.Conflict over maxGuardrails.
func (s *Service) AttachGuardrail(ctx context.Context, g iam.Grant, in GuardrailInput) error {
	return s.changeGuardrails(ctx, g, guardrailChange{in, ActionAttachPolicy, func(e *edit, p *directory.Policy, list []string) ([]string, error) {
		if _, _, err := policy.Parse(in.As, []byte(p.Text())); err != nil {
			return nil, malformedPolicy(e.op, "The policy %q cannot be %s: %v", in.Policy, guardrailNames[in.As], err)
		}
		if len(list) >= maxGuardrails && !slices.Contains(list, p.ARN) {
			return nil, fault.New(e.op, fault.Conflict, "%d policies of this kind are attached to %s; there cannot be more.", len(list), printable(in.Target)).
				WithCode("ConstraintViolationException").WithRemedy("Detach one first, or put their statements into one policy.")
		}
		if slices.Contains(list, p.ARN) {
			return list, nil
		}
		return append(slices.Clip(list), p.ARN), nil
	}})
}

// DetachGuardrail ends what AttachGuardrail did. The grant is for
// ActionDetachPolicy on policy/NAME.
//
// Errors: fault.NotFound; fault.Conflict for the last SCP of a target, without
// which nothing below would be allowed.
func (s *Service) DetachGuardrail(ctx context.Context, g iam.Grant, in GuardrailInput) error {
	return s.changeGuardrails(ctx, g, guardrailChange{in, ActionDetachPolicy, func(e *edit, p *directory.Policy, list []string) ([]string, error) {
		i := slices.Index(list, p.ARN)
		if i < 0 {
			return nil, fault.New(e.op, fault.NotFound, "The policy %q is not attached to %s as %s.", in.Policy, printable(in.Target), guardrailNames[in.As]).
				WithCode("PolicyNotAttachedException")
		}
		if in.As == policy.SCP && len(list) == 1 {
			return nil, fault.New(e.op, fault.Conflict, "The policy %q is the only SCP of %s, and without one nothing below would be allowed.", in.Policy, printable(in.Target)).
				WithCode("ConstraintViolationException").WithRemedy("Attach FullAWSAccess first.")
		}
		return slices.Delete(slices.Clone(list), i, i+1), nil
	}})
}

// guardrailChange is a change of the list of what is attached to a target.
type guardrailChange struct {
	GuardrailInput
	action string
	change func(e *edit, p *directory.Policy, list []string) ([]string, error)
}

func (s *Service) changeGuardrails(ctx context.Context, g iam.Grant, in guardrailChange) (err error) {
	e, err := s.editing(ctx, g, in.action, s.ours("policy/"+in.Policy))
	if err != nil {
		return err
	}
	defer e.end(&err)
	if in.As != policy.SCP && in.As != policy.RCP {
		return invalid(e.op, "A policy is attached as scp or as rcp.")
	}
	p, err := e.sharedNamed(in.Policy)
	if err != nil {
		return err
	}
	target, err := s.targetOf(e.op, in.Target)
	if err != nil {
		return err
	}
	org := s.ix.org.Load()
	next := org.At(target)
	list := &next.SCPs
	if in.As == policy.RCP {
		list = &next.RCPs
	}
	changed, err := in.change(e, p, *list)
	if err != nil || slices.Equal(changed, *list) {
		return err
	}
	*list = changed
	if was, found := org.Guardrails[target]; found {
		return e.s.commit(ctx, write{was.Key, was.Revision, next})
	}
	k, err := s.hide(guardrailFamily, "", target)
	if err != nil {
		return err
	}
	return e.s.commit(ctx, write{key: k, record: next})
}

// ParseGuardrail reads scp or rcp.
func ParseGuardrail(text string) (policy.Kind, error) {
	switch strings.ToLower(text) {
	case "scp":
		return policy.SCP, nil
	case "rcp":
		return policy.RCP, nil
	}
	return 0, invalid("control.ParseGuardrail", "A policy is attached as scp or as rcp, not as %q.", printable(text))
}
