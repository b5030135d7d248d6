package adminapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/admit"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Tenant is a customer of the installation.
type Tenant struct {
	TenantID  tenant.Slug       `json:"tenantId" doc:"Name of the tenant, never given out twice" example:"acme"`
	AccountID tenant.AccountID  `json:"accountId" doc:"Its account, as in ARNs"`
	Plan      string            `json:"plan"`
	Status    tenant.Status     `json:"status" enum:"active,suspended,closing"`
	Parent    tenant.AccountID  `json:"parent,omitempty" doc:"Account of the tenant above it"`
	Tags      map[string]string `json:"tags,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

func showTenant(t tenant.Tenant) Tenant {
	return Tenant{
		TenantID: t.Slug, AccountID: t.Account, Plan: t.Plan, Status: t.Status,
		Parent: t.Parent, Tags: t.Tags, CreatedAt: t.CreatedAt,
	}
}

// NewTenant is a tenant with the first access key of its user admin.
type NewTenant struct {
	TenantID        tenant.Slug      `json:"tenantId"`
	AccountID       tenant.AccountID `json:"accountId"`
	AccessKeyID     string           `json:"accessKeyId"`
	SecretAccessKey string           `json:"secretAccessKey" doc:"Shown this once and never again"`
	EndpointURL     string           `json:"endpointUrl"`
	Region          string           `json:"region"`
	UserARN         string           `json:"userArn" doc:"The user whose key it is"`
	RoleARN         string           `json:"roleArn" doc:"A role for functions, which lambda.amazonaws.com may take on and which allows nothing"`
}

// Plan is what a tenant may use.
type Plan struct {
	Name        string `json:"name"`
	Concurrency int    `json:"concurrency" doc:"The most calls that run at once"`
	Rate        int    `json:"rate" doc:"Calls a second, averaged"`
	Burst       int    `json:"burst" doc:"Calls that may come at once"`
	MaxWaitMS   int64  `json:"maxWaitMs" doc:"How long a call may wait for its turn before 429, in milliseconds"`
	Queue       int    `json:"queue" doc:"The most asynchronous events that may be pending"`
	EndTenants  int    `json:"endTenants" doc:"The most end tenants"`
}

// Actions of this package that package control does not have.
const (
	actionListPlans  = "carrel:ListPlans"
	actionGetUsage   = "carrel:GetUsage"
	actionListEvents = "carrel:ListEvents"
	actionGetStatus  = "carrel:GetStatus"
)

// SlugInput names a tenant in the path.
type SlugInput struct {
	Slug string `path:"slug" maxLength:"64" doc:"Name of the tenant" example:"acme"`
}

type createTenantInput struct {
	Body struct {
		TenantID     string            `json:"tenantId" maxLength:"64" doc:"Name: 3 to 32 of a-z, 0-9 and '-', beginning with a letter" example:"acme"`
		Plan         string            `json:"plan,omitempty" maxLength:"64" doc:"Name of a plan; default if left out"`
		Parent       string            `json:"parent,omitempty" maxLength:"64" doc:"Name or account of the tenant above it"`
		Tags         map[string]string `json:"tags,omitempty"`
		DefaultRoles bool              `json:"defaultRoles,omitempty" doc:"Also make the roles for people that CreateDefaultRoles makes"`
	}
}

type setPlanInput struct {
	SlugInput
	Body struct {
		Plan string `json:"plan" maxLength:"64" example:"unlimited"`
	}
}

func (h *handler) tenants() {
	register(h, operation{id: "CreateTenant", method: http.MethodPost, path: "/v1/tenants", status: http.StatusCreated,
		summary: "Make a tenant with an account, a user admin, its access key and a role for functions"}, h.createTenant)
	register(h, operation{id: "ListTenants", method: http.MethodGet, path: "/v1/tenants",
		summary: "List tenants by name, the management account and the deleted ones too"}, h.listTenants)
	register(h, operation{id: "GetTenant", method: http.MethodGet, path: "/v1/tenants/{slug}",
		summary: "Show a tenant"}, h.onOneTenant(control.ActionGetTenant, h.Control.GetTenant))
	register(h, operation{id: "SuspendTenant", method: http.MethodPost, path: "/v1/tenants/{slug}/suspend",
		summary: "Refuse a tenant's calls and requests; its data stays"}, h.onOneTenant(control.ActionSuspendTenant, h.Control.SuspendTenant))
	register(h, operation{id: "ResumeTenant", method: http.MethodPost, path: "/v1/tenants/{slug}/resume",
		summary: "End a suspension"}, h.onOneTenant(control.ActionResumeTenant, h.Control.ResumeTenant))
	register(h, operation{id: "DeleteTenant", method: http.MethodDelete, path: "/v1/tenants/{slug}",
		summary: "Refuse a tenant for good and keep its name as a tombstone; its data stays, because destruction is not built"},
		h.onOneTenant(control.ActionDeleteTenant, h.Control.DeleteTenant))
	register(h, operation{id: "SetPlan", method: http.MethodPut, path: "/v1/tenants/{slug}/plan",
		summary: "Put a tenant on another plan, from its next call on"}, h.setPlan)
	register(h, operation{id: "ListPlans", method: http.MethodGet, path: "/v1/plans",
		summary: "List the plans"}, h.listPlans)
}

func (h *handler) createTenant(ctx context.Context, in *createTenantInput) (*reply[NewTenant], error) {
	slug, err := parseSlug(in.Body.TenantID)
	if err != nil {
		return nil, err
	}
	g, err := h.onTenant(ctx, control.ActionCreateTenant, slug)
	if err != nil {
		return nil, err
	}
	c, err := h.Control.CreateTenant(ctx, g, control.CreateTenantInput{
		Slug: string(slug), Plan: in.Body.Plan, Parent: in.Body.Parent, Tags: in.Body.Tags, DefaultRoles: in.Body.DefaultRoles,
	})
	if err != nil {
		return nil, err
	}
	return &reply[NewTenant]{NewTenant{
		TenantID: c.TenantID, AccountID: c.AccountID, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey,
		EndpointURL: c.EndpointURL, Region: c.Region, RoleARN: c.RoleARN,
		UserARN: "arn:aws:iam::" + string(c.AccountID) + ":user/" + control.AdminUser,
	}}, nil
}

func (h *handler) listTenants(ctx context.Context, in *PageInput) (*reply[Page[Tenant]], error) {
	g, err := h.onTenant(ctx, control.ActionListTenants, "*")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListTenants(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Tenant, 0, len(page.Items))
	for _, t := range page.Items {
		items = append(items, showTenant(t))
	}
	return pageReply(items, page.NextMarker), nil
}

// onOneTenant makes the handler of an operation that takes only the tenant.
func (h *handler) onOneTenant(action string, act func(context.Context, iam.Grant, tenant.Slug) (tenant.Tenant, error)) func(context.Context, *SlugInput) (*reply[Tenant], error) {
	return func(ctx context.Context, in *SlugInput) (*reply[Tenant], error) {
		slug, err := parseSlug(in.Slug)
		if err != nil {
			return nil, err
		}
		g, err := h.onTenant(ctx, action, slug)
		if err != nil {
			return nil, err
		}
		t, err := act(ctx, g, slug)
		if err != nil {
			return nil, err
		}
		return &reply[Tenant]{showTenant(t)}, nil
	}
}

func (h *handler) setPlan(ctx context.Context, in *setPlanInput) (*reply[Tenant], error) {
	set := func(ctx context.Context, g iam.Grant, slug tenant.Slug) (tenant.Tenant, error) {
		return h.Control.SetPlan(ctx, g, slug, in.Body.Plan)
	}
	return h.onOneTenant(control.ActionSetPlan, set)(ctx, &in.SlugInput)
}

func (h *handler) listPlans(ctx context.Context, in *PageInput) (*reply[Page[Plan]], error) {
	if _, err := h.onAccount(ctx, actionListPlans, sessionOf(ctx).principal.Account, "plan/*"); err != nil {
		return nil, err
	}
	after, err := h.open(in.Cursor, "plans")
	if err != nil {
		return nil, err
	}
	var plans []Plan
	for _, p := range admit.Plans() {
		plans = append(plans, Plan{
			Name: p.Name, Concurrency: p.Concurrency, Rate: p.Rate, Burst: p.Burst,
			MaxWaitMS: p.MaxWait.Milliseconds(), Queue: p.Queue, EndTenants: p.EndTenants,
		})
	}
	slices.SortFunc(plans, func(a, b Plan) int { return strings.Compare(a.Name, b.Name) })
	part, last := cut(plans, cutting{after, in.Limit}, func(p Plan) string { return p.Name })
	return pageReply(part, h.seal(last, "plans")), nil
}
