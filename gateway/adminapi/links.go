package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Links say in which accounts functions run for end tenants.
type Links interface {
	CreateLink(context.Context, iam.Grant, control.LinkInput) (control.Link, error)
	AcceptLink(ctx context.Context, g iam.Grant, id string) (control.Link, error)
	ListLinks(context.Context, iam.Grant, control.PageInput) (control.Page[control.Link], error)
	DeleteLink(ctx context.Context, g iam.Grant, id string) error
}

// Link is the consent of two accounts that functions of the first run in the
// second for one end tenant.
type Link struct {
	ID         string             `json:"id"`
	Provider   tenant.AccountID   `json:"provider" doc:"Account of the functions"`
	EndTenant  tenant.EndTenantID `json:"endTenant" doc:"End tenant of the provider"`
	AccountID  tenant.AccountID   `json:"accountId" doc:"Account that they run in for the end tenant"`
	State      string             `json:"state" enum:"requested,accepted" doc:"Nothing runs there before it is accepted"`
	By         string             `json:"by" doc:"ARN of who asked for it"`
	CreatedAt  time.Time          `json:"createdAt"`
	AcceptedBy string             `json:"acceptedBy,omitempty" doc:"ARN of who accepted it"`
}

type createLinkInput struct {
	AcceptInput
	Body struct {
		EndTenant tenant.EndTenantID `json:"endTenant" maxLength:"64" doc:"End tenant of the caller's account" example:"blue"`
		Account   string             `json:"account" maxLength:"64" doc:"Name or account of a child tenant of the caller's" example:"blue-co"`
	}
}

type linkInput struct {
	AcceptInput
	ID string `path:"id" maxLength:"64" doc:"Id of the link"`
}

func (h *handler) links() {
	register(h, operation{id: "CreateLink", method: http.MethodPost, path: "/v1/links", status: http.StatusCreated,
		summary: "Ask that functions of the account run in a child tenant's account for an end tenant"}, h.createLink)
	register(h, operation{id: "ListLinks", method: http.MethodGet, path: "/v1/links",
		summary: "List the links that the account is a side of"}, h.listLinks)
	register(h, operation{id: "AcceptLink", method: http.MethodPost, path: "/v1/links/{id}/accept",
		summary: "Consent to a link with the account"}, h.acceptLink)
	register(h, operation{id: "DeleteLink", method: http.MethodDelete, path: "/v1/links/{id}",
		summary: "End a link that the account is a side of"}, h.deleteLink)
}

func showLink(l control.Link) Link {
	state := "requested"
	if l.Accepted() {
		state = "accepted"
	}
	return Link{ID: l.ID, Provider: l.Provider, EndTenant: l.EndTenant, AccountID: l.Account, State: state, By: l.By, CreatedAt: l.CreatedAt, AcceptedBy: l.AcceptedBy}
}

func (h *handler) createLink(ctx context.Context, in *createLinkInput) (*reply[Link], error) {
	g, err := h.own(ctx, control.ActionCreateLink, "link/*")
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	l, err := h.Control.CreateLink(ctx, g, control.LinkInput{EndTenant: in.Body.EndTenant, Account: in.Body.Account})
	if err != nil {
		return nil, err
	}
	return &reply[Link]{showLink(l)}, nil
}

func (h *handler) acceptLink(ctx context.Context, in *linkInput) (*reply[Link], error) {
	g, err := h.own(ctx, control.ActionAcceptLink, "link/"+in.ID)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	l, err := h.Control.AcceptLink(ctx, g, in.ID)
	if err != nil {
		return nil, err
	}
	return &reply[Link]{showLink(l)}, nil
}

func (h *handler) listLinks(ctx context.Context, in *PageInput) (*reply[Page[Link]], error) {
	g, err := h.own(ctx, control.ActionListLinks, "link/*")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListLinks(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Link, 0, len(page.Items))
	for _, l := range page.Items {
		items = append(items, showLink(l))
	}
	return pageReply(items, page.NextMarker), nil
}

func (h *handler) deleteLink(ctx context.Context, in *linkInput) (*reply[Done], error) {
	g, err := h.own(ctx, control.ActionDeleteLink, "link/"+in.ID)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.DeleteLink(ctx, g, in.ID)
}
