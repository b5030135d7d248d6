package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/tenant"
)

// Audit gives what was recorded of an account; audit.Trail is one. It takes
// no Grant: this package decides before it asks.
type Audit interface {
	Entries(account tenant.AccountID, from journal.Cursor, limit int) ([]audit.Entry, journal.Cursor, bool, error)
}

// AuditEntry is a refusal, the decision or the outcome of a control act, or a
// call for which a gatekeeper spoke.
type AuditEntry struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Principal string    `json:"principal,omitempty" doc:"ARN of who asked"`
	AccessKey string    `json:"accessKeyId,omitempty"`
	Account   string    `json:"accountId,omitempty" doc:"Account of what was acted on"`
	Action    string    `json:"action" example:"carrel:CreateShare"`
	Resource  string    `json:"resource" doc:"ARN"`
	Outcome   string    `json:"outcome" doc:"refused; or allowed, before an act, and done or failed, after it" example:"done"`
	Code      string    `json:"code,omitempty" doc:"Why it was refused, or failed"`
	Message   string    `json:"message,omitempty"`
	Reason    string    `json:"reason,omitempty" doc:"Why it was done, for acts that need a reason"`
	Gate      string    `json:"gatekeeper,omitempty" doc:"Role for which the callers before it were not asked"`
	Parent    string    `json:"parentRequestId,omitempty" doc:"Request that the calling function ran in"`
	Count     int64     `json:"count,omitempty" doc:"How many refusals the entry stands for; absent for one"`
}

// actionListAudit is the action of reading an account's audit log.
const actionListAudit = "carrel:ListAudit"

type auditInput struct {
	PageInput
	Tenant string `query:"tenant" maxLength:"64" doc:"Name of the tenant; the caller's own account if left out"`
}

func (h *handler) auditLog() {
	register(h, operation{id: "ListAudit", method: http.MethodGet, path: "/v1/audit",
		summary: "List refusals and control acts of an account, the operators' that concern it, and calls for which a gatekeeper spoke, oldest first"}, h.listAudit)
}

// whose authorises reading something of a tenant and gives its account.
// Operators name a tenant; everybody may read their own.
func (h *handler) whose(ctx context.Context, action, what, name string) (tenant.AccountID, error) {
	p := sessionOf(ctx).principal
	if name == "" || tenant.Slug(name) == p.Tenant {
		_, err := h.own(ctx, action, what)
		return p.Account, err
	}
	slug, err := parseSlug(name)
	if err != nil {
		return "", err
	}
	if _, err := h.onTenant(ctx, action, slug); err != nil {
		return "", err
	}
	g, err := h.onTenant(ctx, control.ActionGetTenant, slug)
	if err != nil {
		return "", err
	}
	t, err := h.Control.GetTenant(ctx, g, slug)
	return t.Account, err
}

func (h *handler) listAudit(ctx context.Context, in *auditInput) (*reply[Page[AuditEntry]], error) {
	account, err := h.whose(ctx, actionListAudit, "audit", in.Tenant)
	if err != nil {
		return nil, err
	}
	if h.Audit == nil {
		return nil, fault.New("adminapi.audit", fault.Unavailable, "This node keeps no audit log.")
	}
	list := "audit/" + string(account)
	text, err := h.open(in.Cursor, list)
	if err != nil {
		return nil, err
	}
	from, err := journal.ParseCursor(text)
	if err != nil {
		return nil, err
	}
	page, next, more, err := h.Audit.Entries(account, from, in.Limit)
	if err != nil {
		return nil, err
	}
	items := make([]AuditEntry, 0, len(page))
	for i := range page {
		items = append(items, showEntry(&page[i]))
	}
	if !more {
		return pageReply(items, ""), nil
	}
	return pageReply(items, h.seal(next.String(), list)), nil
}

func showEntry(e *audit.Entry) AuditEntry {
	return AuditEntry{
		Time: e.At, RequestID: e.RequestID, Principal: e.Principal, AccessKey: e.AccessKey, Account: string(e.Account),
		Action: e.Action, Resource: e.Resource, Outcome: e.Outcome, Code: e.Code, Message: e.Message,
		Reason: e.Reason, Gate: e.Gatekeeper, Parent: e.Parent, Count: e.Count,
	}
}
