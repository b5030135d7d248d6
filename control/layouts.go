package control

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// A layout says where in the names of resources the owner's tenant stands, as
// in arn:aws:s3:::shared/{tenant}/*. Whoever declares one owns the resources
// as a whole: an account for names that have its number in them, and the
// operators for those that belong to no account.

// The bounds of layouts.
const (
	maxLayouts = 1_000
	maxPattern = 512
	slot       = "{tenant}"
)

// PutLayoutInput declares a layout. Layouts of one name are versions of each
// other; the last one counts.
type PutLayoutInput struct {
	Name    string
	Pattern string
}

// PutLayout declares a layout of the grant's account, or a new version of it.
// The grant is for ActionPutLayout on layout/NAME of that account.
//
// Errors: fault.Invalid for a pattern that does not say whose a name is;
// fault.Denied for resources that are not the account's; fault.Conflict for
// one that overlaps with another layout.
func (s *Service) PutLayout(ctx context.Context, g iam.Grant, in PutLayoutInput) (l directory.Layout, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionPutLayout, s.OwnResource(account, "layout/"+in.Name))
	if err != nil {
		return directory.Layout{}, err
	}
	defer e.end(&err)
	if err := checkName(e.op, "layoutName", in.Name, 64); err != nil {
		return directory.Layout{}, err
	}
	if err := s.checkPattern(e, in.Pattern); err != nil {
		return directory.Layout{}, err
	}
	org := s.ix.org.Load()
	name := directory.LayoutName{Account: account, Name: in.Name}
	for other, l := range org.Layouts {
		if other != name && overlaps(l.Record.Pattern, in.Pattern) {
			return directory.Layout{}, fault.New(e.op, fault.Conflict, "The pattern overlaps with that of the layout %q, %s: for some names the two would say different owners.",
				l.Record.Name, l.Record.Pattern).WithCode("ConflictException")
		}
	}
	l = directory.Layout{Name: in.Name, Pattern: in.Pattern, Account: account, Version: 1, CreatedAt: s.cfg.Now().UTC()}
	if was, found := org.Layouts[name]; found {
		if was.Record.Pattern == in.Pattern {
			return *was.Record, nil
		}
		l.Version = was.Record.Version + 1
		return l, s.commit(ctx, write{was.Key, was.Revision, l})
	}
	if len(org.Layouts) >= maxLayouts {
		return directory.Layout{}, fault.New(e.op, fault.Throttled, "The installation may have %d layouts.", maxLayouts).WithCode("LimitExceededException")
	}
	k, err := s.hide(layoutFamily, e.owner, in.Name)
	if err != nil {
		return directory.Layout{}, err
	}
	return l, s.commit(ctx, write{key: k, record: l})
}

// checkPattern refuses a pattern that does not say for each name who owns it,
// and one for names that are not the account's to declare.
func (s *Service) checkPattern(e *edit, pattern string) error {
	malformed := func(why string) error {
		return invalid(e.op, "The pattern %q %s. A pattern is an ARN with one {tenant} in its last part, with no wildcard before it and '/', ':' or the end after it, as in arn:aws:s3:::shared/{tenant}/*.", printable(pattern), why)
	}
	parts := strings.SplitN(pattern, ":", 6)
	before, after, found := strings.Cut(pattern, slot)
	switch {
	case len(pattern) > maxPattern:
		return malformed("is too long")
	case len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] == "" || parts[5] == "":
		return malformed("is no ARN")
	case !found || strings.Contains(after, slot) || !strings.Contains(parts[5], slot):
		return malformed("has not exactly one {tenant} in its last part")
	case strings.ContainsAny(before, "*?"):
		return malformed("has a wildcard before {tenant}")
	case after != "" && after[0] != '/' && after[0] != ':':
		return malformed("does not say where the tenant's id ends")
	case strings.ContainsAny(before+after, "{}$ \t\r\n\"\\"):
		return malformed("has characters that stand in no name")
	case strings.Contains(after, "?") || strings.Contains(strings.TrimSuffix(after, "*"), "*"):
		return malformed("has a wildcard that is not a '*' at its end")
	}
	if owner := parts[4]; owner == string(e.account) || owner == "" && e.account == s.management {
		return nil
	}
	return fault.New(e.op, fault.Denied, "The resources %s are not of account %s, which so cannot say who owns them.", printable(pattern), e.account).
		WithCode("AccessDeniedException").WithRemedy("Name resources with your account's number in their ARN, or ask the operator to declare the layout.")
}

// overlaps tells whether two patterns can say different owners for one name:
// if what stands before the tenant in one begins with what does in the other.
func overlaps(a, b string) bool {
	before, _, _ := strings.Cut(a, slot)
	other, _, _ := strings.Cut(b, slot)
	return strings.HasPrefix(before, other) || strings.HasPrefix(other, before)
}

// ListLayouts lists layouts by account and name: an account's own, and those
// of the operators, which hold for everybody. The grant is for
// ActionListLayouts on layout/* of the account. The operators get all.
func (s *Service) ListLayouts(ctx context.Context, g iam.Grant, in PageInput) (Page[directory.Layout], error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionListLayouts, s.OwnResource(account, "layout/*")); err != nil {
		return Page[directory.Layout]{}, err
	}
	found := map[string]directory.Layout{}
	for name, l := range s.ix.org.Load().Layouts {
		if account == s.management || name.Account == account || name.Account == s.management {
			found[string(name.Account)+"/"+name.Name] = *l.Record
		}
	}
	return pageOf("control.ListLayouts", in, slices.Collect(maps.Keys(found)), func(name string) (directory.Layout, error) { return found[name], nil })
}

// DeleteLayout removes a layout of the grant's account. The grant is for
// ActionDeleteLayout on layout/NAME of that account.
func (s *Service) DeleteLayout(ctx context.Context, g iam.Grant, name string) (err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionDeleteLayout, s.OwnResource(account, "layout/"+name))
	if err != nil {
		return err
	}
	defer e.end(&err)
	l, found := s.ix.org.Load().Layouts[directory.LayoutName{Account: account, Name: name}]
	if !found {
		return fault.New(e.op, fault.NotFound, "There is no layout %q of account %s.", printable(name), account).WithCode("ResourceNotFoundException")
	}
	return s.commit(ctx, write{key: l.Key, last: l.Revision})
}

// ownerOf gives the account that owns every resource that a pattern of an ARN
// matches; false if that is not one account, or not known. The pattern may
// have wildcards after its account.
func (s *Service) ownerOf(resource string) (tenant.AccountID, bool) {
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || strings.ContainsAny(strings.Join(parts[:5], ""), "*?$") {
		return "", false
	}
	literal, _, _ := strings.Cut(resource, "*")
	literal, _, _ = strings.Cut(literal, "?")
	for _, l := range s.ix.org.Load().Layouts {
		before, after, _ := strings.Cut(l.Record.Pattern, slot)
		rest, within := strings.CutPrefix(literal, before)
		if !within {
			continue
		}
		id, rest, _ := cutAny(rest, "/:")
		bounded := after == "" && literal == resource || after != "" && strings.HasPrefix(rest, strings.TrimSuffix(after, "*"))
		account, known := s.ix.slugs.get(tenant.Slug(id))
		if known && bounded {
			return account, true
		}
		return "", false // a name of the layout that is no tenant's alone
	}
	if _, known := s.ix.accounts.get(tenant.AccountID(parts[4])); known {
		return tenant.AccountID(parts[4]), true
	}
	return "", false
}

// cutAny divides before the first of some characters, which stays with the rest.
func cutAny(text, chars string) (before, rest string, found bool) {
	if i := strings.IndexAny(text, chars); i >= 0 {
		return text[:i], text[i:], true
	}
	return text, "", false
}
