package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/tenant"
)

// Governance is what is above accounts and between them.
type Governance interface {
	Organization
	Policies
	Guardrails
	Consent
	Isolation
}

// Isolation is what keeps tenants apart, and the ways around it that leave a
// trace.
type Isolation interface {
	Gatekeepers
	Prove(ctx context.Context, g iam.Grant, slug tenant.Slug) (prove.Report, error)
	AcceptFinding(ctx context.Context, g iam.Grant, id, reason string) error
	BreakGlassResource(slug tenant.Slug, role string) string
	BreakGlass(context.Context, iam.Grant, control.BreakGlassInput) (control.SessionCredentials, error)
}

// Organization is the tree of accounts.
type Organization interface {
	Organization(context.Context, iam.Grant, control.PageInput) (control.Page[control.OrgNode], error)
	CreateUnit(context.Context, iam.Grant, control.CreateUnitInput) (directory.Unit, error)
	DeleteUnit(ctx context.Context, g iam.Grant, name string) error
	MoveAccount(context.Context, iam.Grant, control.MoveAccountInput) error
	AcceptUnknown(ctx context.Context, g iam.Grant, reason string) (context.Context, error)
}

// Node is the root, a unit or a tenant in the tree.
type Node struct {
	ID     string   `json:"id" doc:"Id of the unit, or number of the account" example:"ou-6ybdnmxvzdkzqlkq"`
	Kind   string   `json:"kind" enum:"root,unit,tenant"`
	Name   string   `json:"name" example:"emea"`
	Parent string   `json:"parent,omitempty" doc:"Id of the node above it; absent for the root"`
	SCPs   []string `json:"scps" nullable:"false" doc:"ARNs of the SCPs attached to the node itself"`
	RCPs   []string `json:"rcps" nullable:"false" doc:"ARNs of the RCPs attached to the node itself"`
}

// Unit is an organisational unit.
type Unit struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Parent    string    `json:"parent" doc:"Id of the unit above it, or of the root"`
	CreatedAt time.Time `json:"createdAt"`
}

// AcceptInput lets an operator's change through that the isolation prover
// cannot decide.
type AcceptInput struct {
	AcceptUnknown string `query:"acceptUnknown" maxLength:"256" doc:"Make the change also where the isolation prover cannot decide whether it is safe, for this reason; never where it knows that it is not. For operators only"`
}

type createUnitInput struct {
	AcceptInput
	Body struct {
		Name   string `json:"name" maxLength:"64" doc:"Name, unique in the organisation" example:"emea"`
		Parent string `json:"parent,omitempty" maxLength:"64" doc:"Name or id of the unit above it; the root if left out"`
	}
}

type unitInput struct {
	AcceptInput
	Unit string `path:"unit" maxLength:"64" doc:"Name or id of the unit" example:"emea"`
}

type moveInput struct {
	AcceptInput
	SlugInput
	Body struct {
		Unit string `json:"unit" maxLength:"64" doc:"Name or id of the unit, or root" example:"emea"`
	}
}

// Done is the answer to what has nothing to tell.
type Done struct {
	Done bool `json:"done"`
}

var done = &reply[Done]{Done{true}}

func (h *handler) organization() {
	register(h, operation{id: "GetOrganization", method: http.MethodGet, path: "/v1/organization",
		summary: "List the root, the units and the tenants, each after what is above it"}, h.listNodes)
	register(h, operation{id: "CreateUnit", method: http.MethodPost, path: "/v1/organization/units", status: http.StatusCreated,
		summary: "Make an organisational unit"}, h.createUnit)
	register(h, operation{id: "DeleteUnit", method: http.MethodDelete, path: "/v1/organization/units/{unit}",
		summary: "Remove an empty unit, with what is attached to it"}, h.deleteUnit)
	register(h, operation{id: "MoveAccount", method: http.MethodPut, path: "/v1/tenants/{slug}/unit",
		summary: "Put a tenant, with the tenants below it, into a unit or under the root"}, h.moveAccount)
}

// ours decides an operation on something of the organisation, which belongs
// to the management account.
func (h *handler) ours(ctx context.Context, action, what string) (iam.Grant, error) {
	return h.onAccount(ctx, action, h.Control.Management(), what)
}

// own decides an operation on something of the caller's own account.
func (h *handler) own(ctx context.Context, action, what string) (iam.Grant, error) {
	return h.onAccount(ctx, action, sessionOf(ctx).principal.Account, what)
}

// accept gives the context of a change, with the operator's word in it if one
// was given.
func (h *handler) accept(ctx context.Context, in AcceptInput) (context.Context, error) {
	if in.AcceptUnknown == "" {
		return ctx, nil
	}
	g, err := h.ours(ctx, control.ActionAcceptUnknown, "organization")
	if err != nil {
		return nil, err
	}
	return h.Control.AcceptUnknown(ctx, g, in.AcceptUnknown)
}

func (h *handler) listNodes(ctx context.Context, in *PageInput) (*reply[Page[Node]], error) {
	g, err := h.ours(ctx, control.ActionGetOrganization, "organization")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.Organization(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Node, 0, len(page.Items))
	for _, n := range page.Items {
		items = append(items, Node{ID: n.ID, Kind: n.Kind, Name: n.Name, Parent: n.Parent, SCPs: n.SCPs, RCPs: n.RCPs})
	}
	return pageReply(items, page.NextMarker), nil
}

func (h *handler) createUnit(ctx context.Context, in *createUnitInput) (*reply[Unit], error) {
	g, err := h.ours(ctx, control.ActionCreateUnit, "unit/"+in.Body.Name)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	u, err := h.Control.CreateUnit(ctx, g, control.CreateUnitInput{Name: in.Body.Name, Parent: in.Body.Parent})
	if err != nil {
		return nil, err
	}
	return &reply[Unit]{Unit{ID: u.ID, Name: u.Name, Parent: u.Parent, CreatedAt: u.CreatedAt}}, nil
}

func (h *handler) deleteUnit(ctx context.Context, in *unitInput) (*reply[Done], error) {
	g, err := h.ours(ctx, control.ActionDeleteUnit, "unit/"+in.Unit)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.DeleteUnit(ctx, g, in.Unit)
}

func (h *handler) moveAccount(ctx context.Context, in *moveInput) (*reply[Done], error) {
	slug, err := parseSlug(in.Slug)
	if err != nil {
		return nil, err
	}
	g, err := h.onTenant(ctx, control.ActionMoveAccount, slug)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.MoveAccount(ctx, g, control.MoveAccountInput{Tenant: tenant.Slug(slug), Unit: in.Body.Unit})
}
