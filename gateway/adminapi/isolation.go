package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam/prove"
)

type proveInput struct {
	Tenant string `query:"tenant" maxLength:"64" doc:"Name of the tenant; if left out all of the installation for operators, and the caller's own account for tenants"`
}

type breakGlassInput struct {
	SlugInput
	Body struct {
		Role    string `json:"role" maxLength:"64" doc:"Name of the role" example:"fn"`
		Reason  string `json:"reason" minLength:"1" maxLength:"256" doc:"Why; shown to the tenant in its audit log"`
		Seconds int    `json:"seconds,omitempty" minimum:"0" maximum:"3600" doc:"How long the session lasts; 900 if left out"`
	}
}

type acceptFindingInput struct {
	Finding string `path:"finding" maxLength:"16" doc:"Id of the finding, as in the refusal" example:"0f3a9c5e7b1d2468"`
	Body    struct {
		Reason string `json:"reason" minLength:"1" maxLength:"256" doc:"Why; kept with the finding and in the audit log"`
	}
}

// Session is the credentials of a session.
type Session struct {
	AccessKeyID     string    `json:"accessKeyId"`
	SecretAccessKey string    `json:"secretAccessKey"`
	SessionToken    string    `json:"sessionToken"`
	Expires         time.Time `json:"expires"`
	ARN             string    `json:"arn" doc:"ARN of the session, as it is in the tenant's audit log"`
}

func (h *handler) isolation() {
	register(h, operation{id: "ProveIsolation", method: http.MethodGet, path: "/v1/prove",
		summary: "Prove that no tenant reaches what another one owns"}, h.prove)
	register(h, operation{id: "AcceptFinding", method: http.MethodPut, path: "/v1/findings/{finding}",
		summary: "Take something that the prover could not decide for safe, before the change that it was found at"}, h.acceptFinding)
	register(h, operation{id: "BreakGlass", method: http.MethodPost, path: "/v1/tenants/{slug}/break-glass", status: http.StatusCreated,
		summary: "Take on a role of a tenant for a while, which the tenant sees in its audit log"}, h.breakGlass)
}

func (h *handler) prove(ctx context.Context, in *proveInput) (*reply[prove.Report], error) {
	p := sessionOf(ctx).principal
	if in.Tenant == "" || in.Tenant == string(p.Tenant) {
		g, err := h.own(ctx, control.ActionProveIsolation, "isolation")
		if err != nil {
			return nil, err
		}
		r, err := h.Control.Prove(ctx, g, "")
		return &reply[prove.Report]{r}, err
	}
	slug, err := parseSlug(in.Tenant)
	if err != nil {
		return nil, err
	}
	g, err := h.onTenant(ctx, control.ActionProveIsolation, slug)
	if err != nil {
		return nil, err
	}
	r, err := h.Control.Prove(ctx, g, slug)
	return &reply[prove.Report]{r}, err
}

func (h *handler) acceptFinding(ctx context.Context, in *acceptFindingInput) (*reply[Done], error) {
	g, err := h.ours(ctx, control.ActionAcceptUnknown, "organization")
	if err != nil {
		return nil, err
	}
	return done, h.Control.AcceptFinding(ctx, g, in.Finding, in.Body.Reason)
}

func (h *handler) breakGlass(ctx context.Context, in *breakGlassInput) (*reply[Session], error) {
	slug, err := parseSlug(in.Slug)
	if err != nil {
		return nil, err
	}
	g, err := h.decide(ctx, question{control.ActionBreakGlass, h.Control.BreakGlassResource(slug, in.Body.Role), h.Control.Management()})
	if err != nil {
		return nil, err
	}
	c, err := h.Control.BreakGlass(ctx, g, control.BreakGlassInput{Tenant: slug, Role: in.Body.Role, Reason: in.Body.Reason, Seconds: in.Body.Seconds})
	if err != nil {
		return nil, err
	}
	return &reply[Session]{Session{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expires, ARN: c.ARN,
	}}, nil
}
