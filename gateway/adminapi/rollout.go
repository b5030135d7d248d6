package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Rollouts bring versions to end tenants.
type Rollouts interface {
	StartRollout(context.Context, iam.Grant, control.RolloutInput) (control.RolloutView, error)
	GetRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.RolloutView, error)
	PromoteRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.RolloutView, error)
	RollbackRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.RolloutView, error)
}

// Pins keep end tenants on versions.
type Pins interface {
	PinVersion(context.Context, iam.Grant, control.PinInput) error
	UnpinVersion(context.Context, iam.Grant, control.PinInput) error
}

// Rollout brings a version of a function to its end tenants.
type Rollout struct {
	Qualifier  string               `json:"qualifier,omitempty" doc:"Alias that it is about; the bare name if left out"`
	From       string               `json:"from" doc:"Version before"`
	To         string               `json:"to" doc:"Version that is brought out"`
	State      string               `json:"state" enum:"running,promoted,rolledBack"`
	Tenants    []tenant.EndTenantID `json:"tenants,omitempty" doc:"End tenants that get it first"`
	Tag        string               `json:"tag,omitempty" doc:"Tag of the linked accounts of those that get it first"`
	TagValue   string               `json:"tagValue,omitempty"`
	Percent    float64              `json:"percent,omitempty" doc:"Share of all end tenants that gets it first"`
	EndTenants int                  `json:"endTenants" doc:"How many end tenants the account has"`
	Moved      int                  `json:"moved" doc:"How many of them get the new version"`
	By         string               `json:"by" doc:"ARN of who began it"`
	StartedAt  time.Time            `json:"startedAt"`
	ChangedAt  time.Time            `json:"changedAt"`
}

// RolloutNameInput names a function in the path, and an alias of it.
type RolloutNameInput struct {
	Name      string `path:"name" maxLength:"64" doc:"Name of the function"`
	Qualifier string `query:"qualifier" maxLength:"128" doc:"Alias that it is about; the bare name if left out"`
}

type startRolloutInput struct {
	RolloutNameInput
	Body struct {
		To       string               `json:"to,omitempty" maxLength:"32" doc:"Version; the one published last if left out"`
		Tenants  []tenant.EndTenantID `json:"tenants,omitempty" maxItems:"500" doc:"End tenants that get it first"`
		Tag      string               `json:"tag,omitempty" maxLength:"128" doc:"Tag of the linked accounts of those that get it first"`
		TagValue string               `json:"tagValue,omitempty" maxLength:"256" doc:"Value of the tag; any if left out"`
		Percent  float64              `json:"percent,omitempty" minimum:"0" maximum:"100" doc:"Share of all end tenants that gets it first; who is in a share stays in a larger one"`
	}
}

// PinNameInput names an end tenant of a function in the path.
type PinNameInput struct {
	Name      string             `path:"name" maxLength:"64" doc:"Name of the function"`
	EndTenant tenant.EndTenantID `path:"endTenant" maxLength:"64" doc:"End tenant"`
}

type pinInput struct {
	PinNameInput
	Body struct {
		Version string `json:"version" maxLength:"32" doc:"Version that the end tenant is kept on" example:"7"`
	}
}

func (h *handler) rollouts() {
	register(h, operation{id: "StartRollout", method: http.MethodPost, path: "/v1/functions/{name}/rollout",
		summary: "Bring a version to some end tenants first, or change to whom"}, h.startRollout)
	register(h, operation{id: "GetRollout", method: http.MethodGet, path: "/v1/functions/{name}/rollout",
		summary: "Show the last roll-out and how far it is"}, h.getRollout)
	register(h, operation{id: "PromoteRollout", method: http.MethodPost, path: "/v1/functions/{name}/rollout/promote",
		summary: "Bring the version of a roll-out to all end tenants"}, h.promoteRollout)
	register(h, operation{id: "RollbackRollout", method: http.MethodPost, path: "/v1/functions/{name}/rollout/rollback",
		summary: "Give all end tenants the version from before a roll-out"}, h.rollbackRollout)
	register(h, operation{id: "PinVersion", method: http.MethodPut, path: "/v1/functions/{name}/pins/{endTenant}",
		summary: "Keep an end tenant on a version, whatever is brought out"}, h.pinVersion)
	register(h, operation{id: "UnpinVersion", method: http.MethodDelete, path: "/v1/functions/{name}/pins/{endTenant}",
		summary: "End the pin of an end tenant"}, h.unpinVersion)
}

// onFunction decides an operation of /v1 on a function of the caller's account.
func (h *handler) onFunction(ctx context.Context, action, name string) (iam.Grant, function.Name, error) {
	n, err := function.ParseName(name)
	if err != nil {
		return iam.Grant{}, "", fault.New("adminapi", fault.Invalid, "%v.", err).WithCode(codeValidation)
	}
	account := sessionOf(ctx).principal.Account
	g, err := h.decide(ctx, question{action, function.ARN(h.Region, account, n, ""), account})
	return g, n, err
}

func showRollout(v control.RolloutView, err error) (*reply[Rollout], error) {
	if err != nil {
		return nil, err
	}
	return &reply[Rollout]{Rollout{
		Qualifier: v.Qualifier, From: v.From, To: v.To, State: v.State, Tenants: v.Cohort.Tenants, Tag: v.Cohort.TagKey, TagValue: v.Cohort.TagValue,
		Percent: v.Cohort.Percent, EndTenants: v.EndTenants, Moved: v.Moved, By: v.By, StartedAt: v.StartedAt, ChangedAt: v.ChangedAt,
	}}, nil
}

func (h *handler) startRollout(ctx context.Context, in *startRolloutInput) (*reply[Rollout], error) {
	g, name, err := h.onFunction(ctx, control.ActionStartRollout, in.Name)
	if err != nil {
		return nil, err
	}
	return showRollout(h.Control.StartRollout(ctx, g, control.RolloutInput{
		Name: name, Qualifier: in.Qualifier, To: in.Body.To,
		Cohort: control.Cohort{Tenants: in.Body.Tenants, TagKey: in.Body.Tag, TagValue: in.Body.TagValue, Percent: in.Body.Percent},
	}))
}

func (h *handler) getRollout(ctx context.Context, in *RolloutNameInput) (*reply[Rollout], error) {
	g, name, err := h.onFunction(ctx, control.ActionGetRollout, in.Name)
	if err != nil {
		return nil, err
	}
	return showRollout(h.Control.GetRollout(ctx, g, name, in.Qualifier))
}

func (h *handler) promoteRollout(ctx context.Context, in *RolloutNameInput) (*reply[Rollout], error) {
	g, name, err := h.onFunction(ctx, control.ActionPromoteRollout, in.Name)
	if err != nil {
		return nil, err
	}
	return showRollout(h.Control.PromoteRollout(ctx, g, name, in.Qualifier))
}

func (h *handler) rollbackRollout(ctx context.Context, in *RolloutNameInput) (*reply[Rollout], error) {
	g, name, err := h.onFunction(ctx, control.ActionRollbackRollout, in.Name)
	if err != nil {
		return nil, err
	}
	return showRollout(h.Control.RollbackRollout(ctx, g, name, in.Qualifier))
}

func (h *handler) pinVersion(ctx context.Context, in *pinInput) (*reply[Done], error) {
	g, name, err := h.onFunction(ctx, control.ActionPinVersion, in.Name)
	if err != nil {
		return nil, err
	}
	return done, h.Control.PinVersion(ctx, g, control.PinInput{Name: name, EndTenant: in.EndTenant, Version: in.Body.Version})
}

func (h *handler) unpinVersion(ctx context.Context, in *PinNameInput) (*reply[Done], error) {
	g, name, err := h.onFunction(ctx, control.ActionUnpinVersion, in.Name)
	if err != nil {
		return nil, err
	}
	return done, h.Control.UnpinVersion(ctx, g, control.PinInput{Name: name, EndTenant: in.EndTenant})
}
