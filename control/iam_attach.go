package control

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// InlineInput is an inline policy of the user, group or role that Entity
// names.
type InlineInput struct {
	Entity string
	Policy string
	Text   string
}

// AttachedPolicy is a managed policy that is attached.
type AttachedPolicy struct {
	Name string
	ARN  string
}

// PathInput asks for a page of a list of what has a path that begins with
// PathPrefix.
type PathInput struct {
	PageInput
	PathPrefix string
}

func (in PathInput) check(op string) error {
	if len(in.PathPrefix) > maxPath || in.PathPrefix != "" && !strings.HasPrefix(in.PathPrefix, "/") {
		return breaks(op, in.PathPrefix, "pathPrefix", `Member must satisfy regular expression pattern: \u002F[\u0021-\u007F]*`)
	}
	return nil
}

var inlineUse = map[string]policy.Use{
	sortUser: policy.UserInlineUse, sortGroup: policy.GroupInlineUse, sortRole: policy.RoleInlineUse,
}

// putInline adds an inline policy or replaces one.
func (s *Service) putInline(ctx context.Context, g iam.Grant, h holderAct, in InlineInput) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		use := inlineUse[h.sort]
		if err := checkName(e.op, "policyName", in.Policy, maxPolicyName); err != nil {
			return err
		}
		if use.Size([]byte(in.Text)) > use.Limit() {
			return tooLong(e.op, use, h.holder)
		}
		if _, err := checkPolicyText(e.op, use, policy.Identity, in.Text); err != nil {
			return err
		}
		for name := range p.attached.Inline {
			if strings.EqualFold(name, in.Policy) {
				delete(p.attached.Inline, name)
			}
		}
		p.attached.Inline[in.Policy] = in.Text
		sum := 0
		for _, text := range p.attached.Inline {
			sum += use.Size([]byte(text))
		}
		if sum > use.Limit() || len(p.attached.Inline) > maxInlineOfGroup {
			return tooLong(e.op, use, h.holder)
		}
		return nil
	}})
}

func tooLong(op string, use policy.Use, h holder) error {
	return limitExceeded(op, "Maximum policy size of %d bytes exceeded for %s %s", use.Limit(), h.sort, h.name)
}

// getInline gives the text of an inline policy.
func (s *Service) getInline(ctx context.Context, g iam.Grant, h holderAct, name string) (InlineInput, error) {
	p, err := s.holderOf(ctx, g, h.action, h.holder)
	if err != nil {
		return InlineInput{}, err
	}
	text, found := p.attached.Inline[name]
	if !found {
		return InlineInput{}, noInline(opOf(h.action), h, name)
	}
	return InlineInput{h.name, name, text}, nil
}

func noInline(op string, h holderAct, name string) error {
	return noSuchEntity(op, "The %s policy with name %s cannot be found.", h.sort, printable(name))
}

func (s *Service) listInline(ctx context.Context, g iam.Grant, h holderAct, in PageInput) (Page[string], error) {
	p, err := s.holderOf(ctx, g, h.action, h.holder)
	if err != nil {
		return Page[string]{}, err
	}
	return identityPage("inline/"+p.arn, in, slices.Collect(maps.Keys(p.attached.Inline)), func(name string) (string, error) { return name, nil })
}

func (s *Service) deleteInline(ctx context.Context, g iam.Grant, h holderAct, name string) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		if _, found := p.attached.Inline[name]; !found {
			return noInline(e.op, h, name)
		}
		delete(p.attached.Inline, name)
		return nil
	}})
}

// attach attaches a managed policy. One that is attached is no error.
func (s *Service) attach(ctx context.Context, g iam.Grant, h holderAct, arn string) error {
	defer s.sharing(g, arn)()
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		if err := e.attachable(arn); err != nil {
			return err
		}
		if slices.Contains(p.attached.Managed, arn) {
			return nil
		}
		if len(p.attached.Managed) >= maxAttached {
			return overQuota(e.op, "PoliciesPer"+strings.ToUpper(h.sort[:1])+h.sort[1:], maxAttached)
		}
		p.attached.Managed = append(p.attached.Managed, arn)
		return nil
	}})
}

// attachable refuses what is no managed policy that the account may use: one
// of its own, of the management account, or a built-in one. The guardrails
// that are built in are for targets of the tree only.
func (e *edit) attachable(arn string) error {
	_, found := e.in.Managed(arn, e.s.shared())
	if !found || arn == directory.FullAWSAccess || arn == directory.RCPFullAWSAccess {
		return noSuchEntity(e.op, "Policy %s does not exist or is not attachable.", printable(arn))
	}
	return nil
}

func (s *Service) detach(ctx context.Context, g iam.Grant, h holderAct, arn string) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		i := slices.Index(p.attached.Managed, arn)
		if i < 0 {
			return noSuchEntity(e.op, "Policy %s was not found.", printable(arn))
		}
		p.attached.Managed = slices.Delete(p.attached.Managed, i, i+1)
		return nil
	}})
}

func (s *Service) listAttached(ctx context.Context, g iam.Grant, h holderAct, in PathInput) (Page[AttachedPolicy], error) {
	p, err := s.holderOf(ctx, g, h.action, h.holder)
	if err == nil {
		err = in.check(opOf(h.action))
	}
	if err != nil {
		return Page[AttachedPolicy]{}, err
	}
	var arns []string
	for _, arn := range p.attached.Managed {
		if _, path, _ := SplitIdentityResource(arn); strings.HasPrefix(path, in.PathPrefix) {
			arns = append(arns, arn)
		}
	}
	return identityPage("attached/"+p.arn+in.PathPrefix, in.PageInput, arns, func(arn string) (AttachedPolicy, error) {
		_, _, name := SplitIdentityResource(arn)
		return AttachedPolicy{name, arn}, nil
	})
}

// putBoundary makes a managed policy the boundary of a user or role.
func (s *Service) putBoundary(ctx context.Context, g iam.Grant, h holderAct, arn string) error {
	defer s.sharing(g, arn)()
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		if arn == "" {
			return breaks(e.op, arn, "permissionsBoundary", "Member must have length greater than or equal to 20")
		}
		p.attached.Boundary = arn
		return e.boundary(arn)
	}})
}

func (s *Service) deleteBoundary(ctx context.Context, g iam.Grant, h holderAct) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		if p.attached.Boundary == "" {
			return noSuchEntity(e.op, "%s %s does not have a permissions boundary.", h.sort, printable(h.name))
		}
		p.attached.Boundary = ""
		return nil
	}})
}

// boundary refuses what cannot bound.
func (e *edit) boundary(arn string) error {
	if arn == "" {
		return nil
	}
	if err := e.attachable(arn); err != nil {
		return noSuchEntity(e.op, "Scope ARN: %s does not exist or is not attachable.", printable(arn))
	}
	return nil
}

func (s *Service) tagHolder(ctx context.Context, g iam.Grant, h holderAct, tags []call.Tag) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) (err error) {
		p.tags, err = addTags(e.op, p.tags, tags)
		return err
	}})
}

func (s *Service) untagHolder(ctx context.Context, g iam.Grant, h holderAct, keys []string) error {
	return s.changeHolder(ctx, g, holderChange{h, func(e *edit, p *principal) error {
		p.tags = removeTags(p.tags, keys)
		return nil
	}})
}

func (s *Service) listTagsOf(ctx context.Context, g iam.Grant, h holderAct, in PageInput) (Page[call.Tag], error) {
	p, err := s.holderOf(ctx, g, h.action, h.holder)
	if err != nil {
		return Page[call.Tag]{}, err
	}
	return tagPage("tags/"+p.arn, in, p.tags)
}

func tagPage(list string, in PageInput, tags []call.Tag) (Page[call.Tag], error) {
	byKey := make(map[string]call.Tag, len(tags))
	for _, t := range tags {
		byKey[t.Key] = t
	}
	return identityPage(list, in, slices.Collect(maps.Keys(byKey)), func(key string) (call.Tag, error) { return byKey[key], nil })
}

// addTags puts tags in, in place of those whose keys differ by case at most.
func addTags(op string, tags, more []call.Tag) ([]call.Tag, error) {
	if err := checkIAMTags(op, more); err != nil {
		return nil, err
	}
	for _, t := range more {
		i := slices.IndexFunc(tags, func(old call.Tag) bool { return strings.EqualFold(old.Key, t.Key) })
		if i >= 0 {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	return tags, checkIAMTags(op, tags)
}

// removeTags takes tags away; those that are not there are no error.
func removeTags(tags []call.Tag, keys []string) []call.Tag {
	return slices.DeleteFunc(tags, func(t call.Tag) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Key) })
	})
}

// shared are the managed policies of the management account.
func (s *Service) shared() *directory.Table[directory.Policy] {
	return s.sharedOf(s.managementAccount())
}

// sharing keeps the managed policies of the management account from being
// deleted while another account attaches one, which that account's lock does
// not. It is taken before the account's lock.
func (s *Service) sharing(g iam.Grant, arn string) (unlock func()) {
	if arn == "" || directory.IsBuiltin(arn) || g.Request().Owner.Account == s.management {
		return func() {}
	}
	s.sharedPolicies.RLock()
	return s.sharedPolicies.RUnlock
}
