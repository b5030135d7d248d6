package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// Policies are the operators' policies.
type Policies interface {
	PutSharedPolicy(context.Context, iam.Grant, control.PutPolicyInput) (control.SharedPolicy, error)
	GetSharedPolicy(ctx context.Context, g iam.Grant, name string) (control.SharedPolicy, error)
	ListSharedPolicies(context.Context, iam.Grant, control.PageInput) (control.Page[control.SharedPolicy], error)
	DeleteSharedPolicy(ctx context.Context, g iam.Grant, name string) error
}

// Guardrails attaches policies to the root, units and tenants.
type Guardrails interface {
	AttachGuardrail(context.Context, iam.Grant, control.GuardrailInput) error
	DetachGuardrail(context.Context, iam.Grant, control.GuardrailInput) error
}

// PolicySummary is a policy of the operators without its text.
type PolicySummary struct {
	Name        string    `json:"name" example:"data-access"`
	ARN         string    `json:"arn"`
	Description string    `json:"description,omitempty"`
	Version     string    `json:"version" doc:"The version that counts" example:"v2"`
	Targets     []string  `json:"targets" nullable:"false" doc:"Ids of the root, units and accounts that it is attached to as a guardrail"`
	Attachments int       `json:"attachments" doc:"How many users, groups and roles of all accounts have it"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

// PolicyText is a policy of the operators.
type PolicyText struct {
	PolicySummary
	Policy   string          `json:"policy" doc:"The text of the version that counts, JSON in the policy language of AWS"`
	Warnings []PolicyWarning `json:"warnings,omitempty" doc:"Pitfalls in the text; only in the answer to a change"`
}

// PolicyWarning is a pitfall in a policy that is valid.
type PolicyWarning struct {
	Code    string `json:"code"`
	Path    string `json:"path" doc:"Where it is" example:"$.Statement[0].Resource[1]"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// PolicyNameInput names a policy in the path.
type PolicyNameInput struct {
	Name string `path:"name" maxLength:"128" doc:"Name of the policy" example:"data-access"`
}

type putPolicyInput struct {
	AcceptInput
	PolicyNameInput
	Body struct {
		Policy      string `json:"policy" maxLength:"65536" doc:"The text, JSON in the policy language of AWS"`
		Description string `json:"description,omitempty" maxLength:"1000"`
	}
}

type dropPolicyInput struct {
	AcceptInput
	PolicyNameInput
}

type guardrailInput struct {
	AcceptInput
	PolicyNameInput
	Body struct {
		Target string `json:"target" maxLength:"128" doc:"root, a unit by name or id, or a tenant by name or account; unit/NAME or tenant/NAME where both have the name" example:"emea"`
		As     string `json:"as" enum:"scp,rcp" doc:"scp bounds the principals below the target, rcp the resources"`
	}
}

func (h *handler) policies() {
	register(h, operation{id: "PutPolicy", method: http.MethodPut, path: "/v1/policies/{name}",
		summary: "Make a policy of the operators, or give it a new text, which counts at once"}, h.putPolicy)
	register(h, operation{id: "ListPolicies", method: http.MethodGet, path: "/v1/policies",
		summary: "List the operators' policies by name"}, h.listPolicies)
	register(h, operation{id: "GetPolicy", method: http.MethodGet, path: "/v1/policies/{name}",
		summary: "Show a policy of the operators with its text"}, h.getPolicy)
	register(h, operation{id: "DeletePolicy", method: http.MethodDelete, path: "/v1/policies/{name}",
		summary: "Remove a policy that is attached nowhere, with all its versions"}, h.deletePolicy)
	register(h, operation{id: "AttachPolicy", method: http.MethodPost, path: "/v1/policies/{name}/attach",
		summary: "Make a policy a guardrail of the root, a unit or a tenant"}, h.onGuardrail(control.ActionAttachPolicy, h.Control.AttachGuardrail))
	register(h, operation{id: "DetachPolicy", method: http.MethodPost, path: "/v1/policies/{name}/detach",
		summary: "End that a policy is a guardrail of the root, a unit or a tenant"}, h.onGuardrail(control.ActionDetachPolicy, h.Control.DetachGuardrail))
}

func summarise(p *control.SharedPolicy) PolicySummary {
	s := PolicySummary{
		Name: p.Name, ARN: p.ARN, Description: p.Description, Version: p.Default, Targets: p.Targets,
		Attachments: p.Attachments, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
	if s.Targets == nil {
		s.Targets = []string{}
	}
	return s
}

func showPolicy(p *control.SharedPolicy) *reply[PolicyText] {
	t := PolicyText{PolicySummary: summarise(p), Policy: p.Text(), Warnings: showWarnings(p.Warnings)}
	return &reply[PolicyText]{t}
}

func showWarnings(warnings []policy.Warning) []PolicyWarning {
	var all []PolicyWarning
	for _, w := range warnings {
		all = append(all, PolicyWarning{Code: w.Code, Path: w.Path, Message: w.Message, Remedy: w.Remedy})
	}
	return all
}

func (h *handler) putPolicy(ctx context.Context, in *putPolicyInput) (*reply[PolicyText], error) {
	g, err := h.ours(ctx, control.ActionPutPolicy, "policy/"+in.Name)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	p, err := h.Control.PutSharedPolicy(ctx, g, control.PutPolicyInput{Name: in.Name, Description: in.Body.Description, Text: in.Body.Policy})
	if err != nil {
		return nil, err
	}
	return showPolicy(&p), nil
}

func (h *handler) getPolicy(ctx context.Context, in *PolicyNameInput) (*reply[PolicyText], error) {
	g, err := h.ours(ctx, control.ActionReadPolicy, "policy/"+in.Name)
	if err != nil {
		return nil, err
	}
	p, err := h.Control.GetSharedPolicy(ctx, g, in.Name)
	if err != nil {
		return nil, err
	}
	return showPolicy(&p), nil
}

func (h *handler) listPolicies(ctx context.Context, in *PageInput) (*reply[Page[PolicySummary]], error) {
	g, err := h.ours(ctx, control.ActionReadPolicies, "policy/*")
	if err != nil {
		return nil, err
	}
	page, err := h.Control.ListSharedPolicies(ctx, g, control.PageInput{Marker: in.Cursor, MaxItems: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]PolicySummary, 0, len(page.Items))
	for i := range page.Items {
		items = append(items, summarise(&page.Items[i]))
	}
	return pageReply(items, page.NextMarker), nil
}

func (h *handler) deletePolicy(ctx context.Context, in *dropPolicyInput) (*reply[Done], error) {
	g, err := h.ours(ctx, control.ActionDropPolicy, "policy/"+in.Name)
	if err != nil {
		return nil, err
	}
	if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
		return nil, err
	}
	return done, h.Control.DeleteSharedPolicy(ctx, g, in.Name)
}

// onGuardrail makes the handler of attaching or detaching.
func (h *handler) onGuardrail(action string, act func(context.Context, iam.Grant, control.GuardrailInput) error) func(context.Context, *guardrailInput) (*reply[Done], error) {
	return func(ctx context.Context, in *guardrailInput) (*reply[Done], error) {
		as, err := control.ParseGuardrail(in.Body.As)
		if err != nil {
			return nil, err
		}
		g, err := h.ours(ctx, action, "policy/"+in.Name)
		if err != nil {
			return nil, err
		}
		if ctx, err = h.accept(ctx, in.AcceptInput); err != nil {
			return nil, err
		}
		return done, act(ctx, g, control.GuardrailInput{Policy: in.Name, Target: in.Body.Target, As: as})
	}
}
