package adminapi

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Authentication is by what principals show who they are.
type Authentication interface {
	Credentials
	ClaimTagging
}

// Credentials makes bearer tokens and ends sessions.
type Credentials interface {
	CreateToken(context.Context, iam.Grant, control.CreateTokenInput) (control.NewToken, error)
	TokenResource(tenant.AccountID) string
	RevokeSession(context.Context, iam.Grant, control.RevokeSessionInput) error
	SessionResource(account tenant.AccountID, what string) string
}

// ClaimTagging says which claims of providers' tokens set session tags.
type ClaimTagging interface {
	PutProviderClaimTags(ctx context.Context, g iam.Grant, arn string, claims map[string]string) error
	ListProviderClaimTags(context.Context, iam.Grant, control.PageInput) (control.Page[control.ProviderClaimTags], error)
}

// ClaimTags is what the claims of a provider's tokens may set.
type ClaimTags struct {
	Provider string            `json:"provider" doc:"ARN of the OpenID Connect provider" example:"arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"`
	Claims   map[string]string `json:"claims" doc:"For each claim that may set a session tag, the tag's key"`
}

// NewToken is a bearer token as the answer to its making shows it, once.
type NewToken struct {
	ID        string    `json:"id" doc:"Names the token in the audit log, and to revoke it" example:"CBTAQ3JZ5Y4W2M6N7P8R"`
	Token     string    `json:"token" doc:"The token: for the header Authorization, after Bearer, or after DPoP if it is bound to a key"`
	ExpiresAt time.Time `json:"expiresAt"`
}

type createTokenInput struct {
	Body struct {
		Scope      string `json:"scope" minLength:"1" maxLength:"4096" doc:"Policy as JSON text, which has to allow what is asked with the token; it grants nothing"`
		TTLSeconds int64  `json:"ttlSeconds,omitempty" minimum:"1" maximum:"129600" doc:"How long it lives; 15 minutes if left out, at most an hour if bound to no key"`
		Audience   string `json:"audience,omitempty" enum:"lambda,carrel" doc:"The API that takes it; lambda if left out"`
		Holder     string `json:"holder,omitempty" maxLength:"43" doc:"Ed25519 public key of the client that alone may use it: 32 bytes as base64url without padding"`
	}
}

type revokeInput struct {
	Body struct {
		What   string `json:"what" minLength:"1" maxLength:"512" doc:"Id of a session or token; id of an access key, for what was made with it; ARN of a role or user, for all of it until now; or *, for all of the account until now" example:"ASIAQ3JZ5Y4W2M6N7P8R"`
		Tenant string `json:"tenant,omitempty" maxLength:"64" doc:"Name of the tenant whose sessions they are; the caller's own if left out"`
		Reason string `json:"reason,omitempty" maxLength:"512" doc:"Why; kept with the revocation"`
	}
}

type claimTagsInput struct {
	AcceptInput
	Body struct {
		Provider string            `json:"provider" maxLength:"512" doc:"ARN of an OpenID Connect provider of the caller's account" example:"arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"`
		Claims   map[string]string `json:"claims" doc:"For each claim that may set a session tag, the tag's key; what is not listed sets none"`
	}
}

func (h *handler) tokens() {
	register(h, operation{id: "PutProviderClaimTags", method: http.MethodPut, path: "/v1/claim-tags",
		summary: "Say which claims of a provider's tokens set which session tags"}, h.putClaimTags)
	register(h, operation{id: "ListProviderClaimTags", method: http.MethodGet, path: "/v1/claim-tags",
		summary: "List the account's providers with the claims that set session tags"}, h.listClaimTags)
	register(h, operation{id: "CreateToken", method: http.MethodPost, path: "/v1/tokens", status: http.StatusCreated,
		summary: "Make a bearer token that stands for the caller, within a scope"}, h.createToken)
	register(h, operation{id: "RevokeSession", method: http.MethodPost, path: "/v1/sessions/revoke",
		summary: "End sessions and tokens, and what was made with them, before their time"}, h.revokeSession)
}

func (h *handler) createToken(ctx context.Context, in *createTokenInput) (*reply[NewToken], error) {
	account := sessionOf(ctx).principal.Account
	g, err := h.decide(ctx, question{control.ActionCreateToken, h.Control.TokenResource(account), account})
	if err != nil {
		return nil, err
	}
	ask := control.CreateTokenInput{Audience: in.Body.Audience, Life: time.Duration(in.Body.TTLSeconds) * time.Second, Scope: in.Body.Scope}
	if ask.Audience == "" {
		ask.Audience = control.AudienceLambda
	}
	if in.Body.Holder != "" {
		key, err := base64.RawURLEncoding.Strict().DecodeString(in.Body.Holder)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fault.New("adminapi", fault.Invalid, "The holder is not an Ed25519 public key: 32 bytes as base64url without padding.").WithCode(codeValidation)
		}
		ask.Holder = key
	}
	made, err := h.Control.CreateToken(ctx, g, ask)
	if err != nil {
		return nil, err
	}
	return &reply[NewToken]{NewToken{ID: made.ID, Token: made.Token, ExpiresAt: made.Expires}}, nil
}

// revokeSession asks in the caller's own account, or among the operators'
// operations on tenants if another one is named.
func (h *handler) revokeSession(ctx context.Context, in *revokeInput) (*reply[Done], error) {
	p := sessionOf(ctx).principal
	ask := control.RevokeSessionInput{Account: p.Account, What: in.Body.What, Reason: in.Body.Reason}
	if name := tenant.Slug(in.Body.Tenant); name == "" || name == p.Tenant {
		g, err := h.decide(ctx, question{control.ActionRevokeSession, h.Control.SessionResource(p.Account, ask.What), p.Account})
		if err != nil {
			return nil, err
		}
		return done, h.Control.RevokeSession(ctx, g, ask)
	}
	slug, err := parseSlug(in.Body.Tenant)
	if err != nil {
		return nil, err
	}
	g, err := h.onTenant(ctx, control.ActionRevokeSession, slug)
	if err != nil {
		return nil, err
	}
	look, err := h.onTenant(ctx, control.ActionGetTenant, slug)
	if err != nil {
		return nil, err
	}
	t, err := h.Control.GetTenant(ctx, look, slug)
	if err != nil {
		return nil, err
	}
	ask.Account = t.Account
	return done, h.Control.RevokeSession(ctx, g, ask)
}

func (h *handler) putClaimTags(ctx context.Context, in *claimTagsInput) (*reply[Done], error) {
	g, err := h.decide(ctx, question{control.ActionPutProviderClaimTags, in.Body.Provider, sessionOf(ctx).principal.Account})
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.PutProviderClaimTags(ctx, g, in.Body.Provider, in.Body.Claims)
}

func (h *handler) listClaimTags(ctx context.Context, in *PageInput) (*reply[Page[ClaimTags]], error) {
	account := sessionOf(ctx).principal.Account
	g, err := h.decide(ctx, question{control.ActionListProviderClaimTags, control.IdentitiesResource(account, "oidc-provider"), account})
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListProviderClaimTags(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]ClaimTags, 0, len(page.Items))
	for _, p := range page.Items {
		claims := map[string]string{}
		maps.Copy(claims, p.Claims)
		items = append(items, ClaimTags{Provider: p.Provider, Claims: claims})
	}
	return pageReply(items, page.NextMarker), nil
}
