package adminapi

import (
	"context"
	"net/http"

	"github.com/carrel-dev/carrel/control"
)

// DefaultRole is a role with the built-in policy of its kind.
type DefaultRole struct {
	Name        string `json:"name" example:"tenant-developer"`
	ARN         string `json:"arn"`
	PolicyARN   string `json:"policyArn" doc:"The managed policy that it has" example:"arn:aws:iam::aws:policy/carrel/CarrelTenantDeveloper"`
	Description string `json:"description"`
}

// DefaultRoles are those that were made.
type DefaultRoles struct {
	Roles []DefaultRole `json:"roles" nullable:"false" doc:"Empty if all were there"`
}

func (h *handler) roles() {
	register(h, operation{id: "CreateDefaultRoles", method: http.MethodPost, path: "/v1/default-roles",
		summary: "Make the roles for people in the caller's account, those that are not there"}, h.createDefaultRoles)
}

func (h *handler) createDefaultRoles(ctx context.Context, _ *struct{}) (*reply[DefaultRoles], error) {
	account := sessionOf(ctx).principal.Account
	g, err := h.decide(ctx, question{control.ActionCreateDefaultRoles, control.IdentityAccountResource(account), account})
	if err != nil {
		return nil, err
	}
	made, err := h.Control.CreateDefaultRoles(ctx, g)
	if err != nil {
		return nil, err
	}
	out := DefaultRoles{Roles: make([]DefaultRole, 0, len(made))}
	for i := range made {
		r := &made[i]
		out.Roles = append(out.Roles, DefaultRole{Name: r.Name, ARN: r.ARN, PolicyARN: r.Managed[0], Description: r.Description})
	}
	return &reply[DefaultRoles]{out}, nil
}
