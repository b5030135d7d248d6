package control

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// The bounds of the tree; the depth is AWS's.
const (
	maxUnits     = 1_000
	maxUnitDepth = 5
	maxUnitName  = 64
)

// CreateUnitInput is a new organisational unit. Parent is root or a unit, by
// name or id; empty stands for root. Names are unique in the organisation.
type CreateUnitInput struct {
	Name   string
	Parent string
}

// CreateUnit makes a unit. The grant is for ActionCreateUnit on unit/NAME.
//
// Errors: fault.Conflict for a name in use; fault.NotFound for the parent;
// fault.Throttled over the bounds of the tree.
func (s *Service) CreateUnit(ctx context.Context, g iam.Grant, in CreateUnitInput) (u directory.Unit, err error) {
	e, err := s.editing(ctx, g, ActionCreateUnit, s.ours("unit/"+in.Name))
	if err != nil {
		return directory.Unit{}, err
	}
	defer e.end(&err)
	org := s.ix.org.Load()
	if err := checkUnitName(e.op, in.Name); err != nil {
		return directory.Unit{}, err
	}
	if _, taken := unitNamed(org, in.Name); taken {
		return directory.Unit{}, fault.New(e.op, fault.Conflict, "There is a unit %q already.", in.Name).WithCode("ConflictException")
	}
	parent, err := unitOrRoot(e.op, org, in.Parent)
	if err != nil {
		return directory.Unit{}, err
	}
	if depth := depthOf(org, parent); depth >= maxUnitDepth || len(org.Units) >= maxUnits {
		return directory.Unit{}, fault.New(e.op, fault.Throttled, "The organisation may have %d units, %d deep.", maxUnits, maxUnitDepth).
			WithCode("LimitExceededException")
	}
	u = directory.Unit{
		ID: directory.UnitPrefix + strings.ToLower(rand.Text()[:16]), Name: in.Name, Parent: parent, CreatedAt: s.cfg.Now().UTC(),
	}
	k, err := newKey(unitFamily, u.ID)
	if err != nil {
		return directory.Unit{}, err
	}
	return u, e.s.commit(ctx, write{key: k, record: u})
}

func checkUnitName(op, name string) error {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			name = ""
			break
		}
	}
	if name == "" || len(name) > maxUnitName || name == "root" || strings.HasPrefix(name, directory.UnitPrefix) {
		return invalid(op, "The name of a unit has 1 to %d letters, digits, '.', '_' and '-', begins with a letter or digit, and is neither root nor begins with %s.", maxUnitName, directory.UnitPrefix)
	}
	return nil
}

func unitOrRoot(op string, o *directory.Org, name string) (string, error) {
	if name == "" || name == "root" || name == directory.RootUnit {
		return directory.RootUnit, nil
	}
	u, found := unitNamed(o, strings.TrimPrefix(name, "unit/"))
	if !found {
		return "", noUnit(op, name)
	}
	return u.Record.ID, nil
}

func noUnit(op, name string) error {
	return fault.New(op, fault.NotFound, "There is no unit %q.", printable(name)).WithCode("ResourceNotFoundException").
		WithRemedy("carrel org tree lists the units.")
}

// depthOf counts the units from the root down to one.
func depthOf(o *directory.Org, unit string) int {
	depth := 0
	for u, found := o.Units[unit]; found && depth <= maxUnitDepth; u, found = o.Units[u.Record.Parent] {
		depth++
	}
	return depth
}

// DeleteUnit removes a unit, by name or id, that has nothing in it and nothing
// attached. The grant is for ActionDeleteUnit on unit/NAME, as it was given.
//
// Errors: fault.NotFound; fault.Conflict.
func (s *Service) DeleteUnit(ctx context.Context, g iam.Grant, name string) (err error) {
	e, err := s.editing(ctx, g, ActionDeleteUnit, s.ours("unit/"+name))
	if err != nil {
		return err
	}
	defer e.end(&err)
	org := s.ix.org.Load()
	u, found := unitNamed(org, name)
	if !found {
		return noUnit(e.op, name)
	}
	for _, child := range org.Units {
		if child.Record.Parent == u.Record.ID {
			return notEmpty(e.op, name, "unit "+child.Record.Name)
		}
	}
	for _, p := range org.Placements {
		if p.Record.Unit == u.Record.ID {
			return notEmpty(e.op, name, s.showTarget(string(p.Record.Account)))
		}
	}
	writes := []write{{key: u.Key, last: u.Revision}}
	if g, attached := org.Guardrails[u.Record.ID]; attached {
		writes = append(writes, write{key: g.Key, last: g.Revision})
	}
	return e.s.commit(ctx, writes...)
}

func notEmpty(op, name, what string) error {
	return fault.New(op, fault.Conflict, "The unit %q is not empty: %s is in it.", printable(name), what).WithCode("OrganizationalUnitNotEmptyException").
		WithRemedy("Move what is in it first.")
}

// MoveAccountInput says into which unit, or root, a tenant's account goes.
type MoveAccountInput struct {
	Tenant tenant.Slug
	Unit   string
}

// MoveAccount puts a tenant's account into a unit, with the accounts of the
// tenants below it. The grant is for ActionMoveAccount on the TenantResource.
//
// Errors: fault.NotFound; fault.Invalid for the management account, and for a
// tenant with a parent tenant, whose guardrails it must not leave.
func (s *Service) MoveAccount(ctx context.Context, g iam.Grant, in MoveAccountInput) (err error) {
	if id, found := s.ix.slugs.get(in.Tenant); found {
		ctx = iam.WithNote(ctx, iam.Note{Concerns: id})
	}
	e, err := s.editing(ctx, g, ActionMoveAccount, s.TenantResource(in.Tenant))
	if err != nil {
		return err
	}
	defer e.end(&err)
	a, err := s.tenantNamed(e.op, string(in.Tenant))
	if err != nil {
		return err
	}
	if a.Account == s.management || a.Parent != "" {
		return invalid(e.op, "The tenant %q cannot be moved: it is the management account, or below another tenant, with which it moves.", in.Tenant)
	}
	org := s.ix.org.Load()
	unit, err := unitOrRoot(e.op, org, in.Unit)
	if err != nil {
		return err
	}
	was, placed := org.Placements[a.Account]
	switch {
	case !placed && unit == directory.RootUnit:
		return nil
	case placed && was.Record.Unit == unit:
		return nil
	case placed:
		return e.s.commit(ctx, rewrite(was, func(p *directory.Placement) { p.Unit = unit }))
	}
	k, err := s.hide(placementFamily, "", string(a.Account))
	if err != nil {
		return err
	}
	return e.s.commit(ctx, write{key: k, record: directory.Placement{Account: a.Account, Unit: unit}})
}

// The kinds of nodes of the tree.
const (
	NodeRoot   = "root"
	NodeUnit   = "unit"
	NodeTenant = "tenant"
)

// OrgNode is the root, a unit or an account of the tree.
type OrgNode struct {
	ID   string
	Kind string
	Name string
	// Parent is the id of the node above; empty for the root.
	Parent string
	// SCPs and RCPs are the ARNs of what is attached to the node itself.
	SCPs, RCPs []string
}

// Organization lists the tree, every node after the one above it. The grant
// is for ActionGetOrganization on organization. Tenants that were deleted are
// left out.
func (s *Service) Organization(ctx context.Context, g iam.Grant, in PageInput) (Page[OrgNode], error) {
	if _, err := s.check(ctx, g, ActionGetOrganization, s.ours("organization")); err != nil {
		return Page[OrgNode]{}, err
	}
	org := s.ix.org.Load()
	nodes := map[string]OrgNode{}
	add := func(way []string, n OrgNode) {
		if len(way) > 1 {
			n.Parent = way[len(way)-2]
		}
		at := org.At(n.ID)
		n.SCPs, n.RCPs = at.SCPs, append([]string{directory.RCPFullAWSAccess}, at.RCPs...)
		nodes[strings.Join(way, "\x00")] = n
	}
	add([]string{directory.RootUnit}, OrgNode{ID: directory.RootUnit, Kind: NodeRoot, Name: "root"})
	for id, u := range org.Units {
		add(unitWay(org, id), OrgNode{ID: id, Kind: NodeUnit, Name: u.Record.Name})
	}
	s.ix.accounts.each(func(id tenant.AccountID, a *account) {
		if way, ok := org.Way(id, s.parentOf); ok && a.Status != tenant.Closing {
			add(way, OrgNode{ID: string(id), Kind: NodeTenant, Name: string(a.Slug)})
		}
	})
	return pageOf("control.Organization", in, slices.Collect(maps.Keys(nodes)), func(way string) (OrgNode, error) { return nodes[way], nil })
}

// unitWay gives the ids from the root down to a unit.
func unitWay(o *directory.Org, id string) []string {
	var way []string
	for u, found := o.Units[id]; found && len(way) <= maxUnitDepth; u, found = o.Units[u.Record.Parent] {
		way = append(way, u.Record.ID)
	}
	way = append(way, directory.RootUnit)
	slices.Reverse(way)
	return way
}
