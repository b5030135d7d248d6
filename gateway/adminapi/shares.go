package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Consent is what owners say about their resources.
type Consent interface {
	Layouts
	Shares
	Links
}

// Layouts say where in resources' names their owner stands.
type Layouts interface {
	PutLayout(context.Context, iam.Grant, control.PutLayoutInput) (directory.Layout, error)
	ListLayouts(context.Context, iam.Grant, control.PageInput) (control.Page[directory.Layout], error)
	DeleteLayout(ctx context.Context, g iam.Grant, name string) error
}

// Shares let another tenant reach a resource.
type Shares interface {
	CreateShare(context.Context, iam.Grant, control.CreateShareInput) (directory.Share, error)
	ListShares(context.Context, iam.Grant, control.PageInput) (control.Page[directory.Share], error)
	DeleteShare(ctx context.Context, g iam.Grant, id string) error
}

// Gatekeepers marks roles that answer for their callers.
type Gatekeepers interface {
	GatekeeperResource(slug tenant.Slug, role string) string
	MarkGatekeeper(context.Context, iam.Grant, control.GatekeeperInput) error
	UnmarkGatekeeper(context.Context, iam.Grant, control.GatekeeperInput) error
}

// Layout says where in resources' names the owner's tenant stands.
type Layout struct {
	Name      string           `json:"name" example:"reports"`
	Pattern   string           `json:"pattern" example:"arn:aws:s3:::reports/{tenant}/*"`
	AccountID tenant.AccountID `json:"accountId" doc:"Account that declared it"`
	Version   int              `json:"version" doc:"How often it was declared anew"`
	CreatedAt time.Time        `json:"createdAt" doc:"When this version was declared"`
}

// Share is the owner's consent that another tenant may reach a resource.
type Share struct {
	ID        string           `json:"id"`
	Resource  string           `json:"resource" doc:"ARN; wildcards stand for all that they match"`
	Owner     tenant.AccountID `json:"owner" doc:"Account that shares"`
	With      tenant.AccountID `json:"with" doc:"Account it is shared with"`
	Reason    string           `json:"reason"`
	By        string           `json:"by" doc:"ARN of who made it"`
	CreatedAt time.Time        `json:"createdAt"`
}

// LayoutNameInput names a layout in the path.
type LayoutNameInput struct {
	AcceptInput
	Name string `path:"name" maxLength:"64" doc:"Name of the layout" example:"reports"`
}

type putLayoutInput struct {
	LayoutNameInput
	Body struct {
		Pattern string `json:"pattern" maxLength:"512" doc:"ARN with one {tenant} in its last part" example:"arn:aws:s3:::reports/{tenant}/*"`
	}
}

type createShareInput struct {
	AcceptInput
	Body struct {
		Resource string `json:"resource" maxLength:"512" doc:"ARN of what the caller's account owns" example:"arn:aws:s3:::reports/acme/2026/*"`
		With     string `json:"with" maxLength:"64" doc:"Name or account of the tenant" example:"globex"`
		Reason   string `json:"reason" minLength:"1" maxLength:"256" doc:"Why; shown with the share and in the audit log"`
	}
}

type shareInput struct {
	AcceptInput
	ID string `path:"id" maxLength:"64" doc:"Id of the share"`
}

// GatekeeperInput names a role of a tenant in the path.
type GatekeeperInput struct {
	AcceptInput
	SlugInput
	Role string `path:"role" maxLength:"64" doc:"Name of the role" example:"fn"`
}

type markInput struct {
	GatekeeperInput
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"256" doc:"Why; shown with the role and in the audit log"`
	}
}

func (h *handler) shares() {
	register(h, operation{id: "PutLayout", method: http.MethodPut, path: "/v1/layouts/{name}",
		summary: "Declare where in resources' names their owner stands"}, h.putLayout)
	register(h, operation{id: "ListLayouts", method: http.MethodGet, path: "/v1/layouts",
		summary: "List the account's layouts and the operators'"}, h.listLayouts)
	register(h, operation{id: "DeleteLayout", method: http.MethodDelete, path: "/v1/layouts/{name}",
		summary: "Remove a layout of the account"}, h.deleteLayout)
	register(h, operation{id: "CreateShare", method: http.MethodPost, path: "/v1/shares", status: http.StatusCreated,
		summary: "Consent that another tenant may reach a resource of the account"}, h.createShare)
	register(h, operation{id: "ListShares", method: http.MethodGet, path: "/v1/shares",
		summary: "List the shares by the account and with it"}, h.listShares)
	register(h, operation{id: "DeleteShare", method: http.MethodDelete, path: "/v1/shares/{id}",
		summary: "End a share of the account that no policy needs any more"}, h.deleteShare)
	register(h, operation{id: "MarkGatekeeper", method: http.MethodPut, path: "/v1/tenants/{slug}/gatekeepers/{role}",
		summary: "Mark a role whose callers do not bound what it does with resources of its own account"}, h.markGatekeeper)
	register(h, operation{id: "UnmarkGatekeeper", method: http.MethodDelete, path: "/v1/tenants/{slug}/gatekeepers/{role}",
		summary: "End the mark of a role as a gatekeeper"}, h.unmarkGatekeeper)
}

func showLayout(l directory.Layout) Layout {
	return Layout{Name: l.Name, Pattern: l.Pattern, AccountID: l.Account, Version: l.Version, CreatedAt: l.CreatedAt}
}

func showShare(s directory.Share) Share {
	return Share{ID: s.ID, Resource: s.Resource, Owner: s.Owner, With: s.With, Reason: s.Reason, By: s.By, CreatedAt: s.CreatedAt}
}

func (h *handler) putLayout(ctx context.Context, in *putLayoutInput) (*reply[Layout], error) {
	g, err := h.own(ctx, control.ActionPutLayout, "layout/"+in.Name)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	l, err := h.Control.PutLayout(ctx, g, control.PutLayoutInput{Name: in.Name, Pattern: in.Body.Pattern})
	if err != nil {
		return nil, err
	}
	return &reply[Layout]{showLayout(l)}, nil
}

func (h *handler) listLayouts(ctx context.Context, in *PageInput) (*reply[Page[Layout]], error) {
	g, err := h.own(ctx, control.ActionListLayouts, "layout/*")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListLayouts(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Layout, 0, len(page.Items))
	for _, l := range page.Items {
		items = append(items, showLayout(l))
	}
	return pageReply(items, page.NextMarker), nil
}

func (h *handler) deleteLayout(ctx context.Context, in *LayoutNameInput) (*reply[Done], error) {
	g, err := h.own(ctx, control.ActionDeleteLayout, "layout/"+in.Name)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.DeleteLayout(ctx, g, in.Name)
}

func (h *handler) createShare(ctx context.Context, in *createShareInput) (*reply[Share], error) {
	g, err := h.own(ctx, control.ActionCreateShare, "share/*")
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	s, err := h.Control.CreateShare(ctx, g, control.CreateShareInput{Resource: in.Body.Resource, With: in.Body.With, Reason: in.Body.Reason})
	if err != nil {
		return nil, err
	}
	return &reply[Share]{showShare(s)}, nil
}

func (h *handler) listShares(ctx context.Context, in *PageInput) (*reply[Page[Share]], error) {
	g, err := h.own(ctx, control.ActionListShares, "share/*")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListShares(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Share, 0, len(page.Items))
	for _, s := range page.Items {
		items = append(items, showShare(s))
	}
	return pageReply(items, page.NextMarker), nil
}

func (h *handler) deleteShare(ctx context.Context, in *shareInput) (*reply[Done], error) {
	g, err := h.own(ctx, control.ActionDeleteShare, "share/"+in.ID)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.DeleteShare(ctx, g, in.ID)
}

func (h *handler) markGatekeeper(ctx context.Context, in *markInput) (*reply[Done], error) {
	mark := control.GatekeeperInput{Role: in.Role, Reason: in.Body.Reason}
	return h.onGatekeeper(ctx, &in.GatekeeperInput, mark, h.Control.MarkGatekeeper)
}

func (h *handler) unmarkGatekeeper(ctx context.Context, in *GatekeeperInput) (*reply[Done], error) {
	return h.onGatekeeper(ctx, in, control.GatekeeperInput{Role: in.Role}, h.Control.UnmarkGatekeeper)
}

func (h *handler) onGatekeeper(ctx context.Context, in *GatekeeperInput, mark control.GatekeeperInput,
	act func(context.Context, iam.Grant, control.GatekeeperInput) error) (*reply[Done], error) {
	slug, err := parseSlug(in.Slug)
	if err != nil {
		return nil, err
	}
	action := control.ActionMarkGatekeeper
	if mark.Reason == "" {
		action = control.ActionUnmarkGatekeeper
	}
	g, err := h.decide(ctx, question{action, h.Control.GatekeeperResource(slug, in.Role), h.Control.Management()})
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	mark.Tenant = slug
	return done, act(ctx, g, mark)
}
