package control

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// The actions on the organisation: the tree of accounts, the operators'
// policies and what is attached where, layouts, shares and marks. AWS has no
// names for most of them.
const (
	ActionGetOrganization = "carrel:GetOrganization"
	ActionCreateUnit      = "carrel:CreateUnit"
	ActionDeleteUnit      = "carrel:DeleteUnit"
	ActionMoveAccount     = "carrel:MoveAccount"

	ActionPutPolicy    = "carrel:PutPolicy"
	ActionReadPolicy   = "carrel:GetPolicy"
	ActionReadPolicies = "carrel:ListPolicies"
	ActionDropPolicy   = "carrel:DeletePolicy"
	ActionAttachPolicy = "carrel:AttachPolicy"
	ActionDetachPolicy = "carrel:DetachPolicy"

	ActionPutLayout    = "carrel:PutLayout"
	ActionListLayouts  = "carrel:ListLayouts"
	ActionDeleteLayout = "carrel:DeleteLayout"

	ActionCreateShare = "carrel:CreateShare"
	ActionListShares  = "carrel:ListShares"
	ActionDeleteShare = "carrel:DeleteShare"

	ActionMarkGatekeeper   = "carrel:MarkGatekeeper"
	ActionUnmarkGatekeeper = "carrel:UnmarkGatekeeper"
	ActionAcceptUnknown    = "carrel:AcceptUnknown"
)

// OwnResource is the resource of operations on something that an account has
// with us, as in layout/orders: a layout, a share, a policy, a unit. Units,
// policies and the organization are the management account's.
func (s *Service) OwnResource(account tenant.AccountID, what string) string {
	return "arn:aws:carrel:" + s.cfg.Region + ":" + string(account) + ":" + what
}

// ours is OwnResource of the management account.
func (s *Service) ours(what string) string { return s.OwnResource(s.management, what) }

// maxGivenReason is the most characters of a reason that people give.
const maxGivenReason = 256

// checkReason refuses an act without a reason that says something.
func checkReason(op, reason string) error {
	if reason = strings.TrimSpace(reason); reason == "" || len(reason) > maxGivenReason || strings.ContainsFunc(reason, unicode.IsControl) || !utf8.ValidString(reason) {
		return invalid(op, "A reason of 1 to %d printable characters is needed; it is shown to whom it concerns and in the audit log.", maxGivenReason)
	}
	return nil
}

// targetOf finds what a policy can be attached to: root, a unit by name or
// id, a tenant by name or account. Where a unit has a tenant's name it is
// unit/NAME or tenant/NAME.
func (s *Service) targetOf(op, name string) (string, error) {
	sort, rest, divided := strings.Cut(name, "/")
	if !divided {
		sort, rest = "", name
	}
	if sort == "" && (rest == "root" || rest == directory.RootUnit) {
		return directory.RootUnit, nil
	}
	var found []string
	if sort == "" || sort == "unit" {
		if u, ok := unitNamed(s.ix.org.Load(), rest); ok {
			found = append(found, u.Record.ID)
		}
	}
	if sort == "" || sort == "tenant" {
		if a, err := s.tenantNamed(op, rest); err == nil && a.Status != tenant.Closing {
			found = append(found, string(a.Account))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fault.New(op, fault.NotFound, "There is no unit and no tenant %q.", printable(name)).WithCode("ResourceNotFoundException").
			WithRemedy("Name root, a unit, or a tenant; carrel org tree lists them.")
	}
	return "", invalid(op, "Both a unit and a tenant are called %q: say unit/%s or tenant/%s.", rest, rest, rest)
}

// unitNamed finds a unit by its name or id.
func unitNamed(o *directory.Org, name string) (*directory.Entry[directory.Unit], bool) {
	if u, found := o.Units[name]; found {
		return u, true
	}
	for _, u := range o.Units {
		if u.Record.Name == name {
			return u, true
		}
	}
	return nil, false
}

// showTarget names a target as people do.
func (s *Service) showTarget(target string) string {
	if target == directory.RootUnit {
		return "root"
	}
	if u, found := s.ix.org.Load().Units[target]; found {
		return "unit " + u.Record.Name
	}
	if a, found := s.ix.accounts.get(tenant.AccountID(target)); found {
		return "tenant " + string(a.Slug)
	}
	return target
}

// showTargets names targets, a few of many.
func (s *Service) showTargets(targets []string) string {
	const most = 5
	var names []string
	for _, t := range targets {
		names = append(names, s.showTarget(t))
	}
	slices.Sort(names)
	if len(names) > most {
		names = append(names[:most], "others")
	}
	return strings.Join(names, ", ")
}
