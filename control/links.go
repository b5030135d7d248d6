package control

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// A link is the consent of two accounts that functions of the first, the
// provider, run in the second for one end tenant of the provider, as the second
// account's roles and at its cost: the strategy account. The second account is a
// child tenant of the provider. The provider asks for the link, and the other
// accepts it: from then on whoever deploys code in the provider's account decides
// what runs as those roles of the other that trust functions.

// The actions on links.
const (
	ActionCreateLink = "carrel:CreateLink"
	ActionAcceptLink = "carrel:AcceptLink"
	ActionListLinks  = "carrel:ListLinks"
	ActionDeleteLink = "carrel:DeleteLink"
)

// Link says in which account functions of a provider run for an end tenant. An
// end tenant has one account, and an account is linked for one end tenant.
type Link struct {
	ID       string           `json:"id"` // link-…
	Provider tenant.AccountID `json:"provider"`
	// EndTenant is the provider's; EndTenantUID tells it from one that is
	// registered anew under its name.
	EndTenant    tenant.EndTenantID `json:"endTenant"`
	EndTenantUID tenant.UID         `json:"endTenantUid"`
	Account      tenant.AccountID   `json:"account"`
	// By is the ARN of who asked for it, and AcceptedBy of who accepted it; empty
	// until then, and nothing runs there.
	By         string    `json:"by"`
	CreatedAt  time.Time `json:"createdAt"`
	AcceptedBy string    `json:"acceptedBy,omitempty"`
	AcceptedAt time.Time `json:"acceptedAt,omitzero"`
}

// Accepted tells whether both sides consent.
func (l *Link) Accepted() bool { return l.AcceptedBy != "" }

// LinkInput is a link to ask for: of an end tenant of the account that asks, with
// a child tenant of it by name or account.
type LinkInput struct {
	EndTenant tenant.EndTenantID
	Account   string
}

// CreateLink asks for a link, in the name of the provider. The grant is for
// ActionCreateLink on link/* of its account.
//
// Errors: fault.NotFound for the end tenant and the account; fault.Denied for an
// account that is no child tenant of the provider; fault.Conflict where one of
// the two is linked already.
func (s *Service) CreateLink(ctx context.Context, g iam.Grant, in LinkInput) (l Link, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreateLink, s.OwnResource(account, "link/*"))
	if err != nil {
		return Link{}, err
	}
	defer e.end(&err)
	uid, known, err := s.FindEndTenant(account, in.EndTenant)
	if err != nil {
		return Link{}, err
	}
	if !known {
		return Link{}, fault.New(e.op, fault.NotFound, "The account has no end tenant %q.", printable(string(in.EndTenant))).WithCode("ResourceNotFoundException").
			WithRemedy("End tenants are known from their first call on.")
	}
	with, err := s.tenantNamed(e.op, in.Account)
	if err == nil && (with.Parent != account || with.Status != tenant.Active) {
		// Whether it exists is not for everybody to know.
		err = fault.New(e.op, fault.NotFound, "There is no tenant %q.", printable(in.Account)).WithCode("ResourceNotFoundException").
			WithRemedy("An account that is linked is a child tenant of this one: carrel tenant create NAME --parent makes one.")
	}
	if err != nil {
		return Link{}, err
	}
	if err := s.unlinked(e.op, Link{Provider: account, EndTenant: in.EndTenant, Account: with.Account}); err != nil {
		return Link{}, err
	}
	l = Link{
		ID: "link-" + strings.ToLower(rand.Text()[:16]), Provider: account, EndTenant: in.EndTenant, EndTenantUID: uid,
		Account: with.Account, By: g.Request().Principal.ARN, CreatedAt: s.cfg.Now().UTC(),
	}
	k, err := newKey(linkFamily, string(e.owner), l.ID)
	if err != nil {
		return Link{}, err
	}
	return l, s.commit(ctx, write{key: k, record: l})
}

// unlinked refuses a second link of an end tenant or of an account.
func (s *Service) unlinked(op string, l Link) error {
	for _, other := range s.ix.allLinks() {
		if other.T.Provider == l.Provider && other.T.EndTenant == l.EndTenant || other.T.Account == l.Account {
			return fault.New(op, fault.Conflict, "The end tenant or the account is linked already, by %s.", other.T.ID).WithCode("ConflictException").
				WithRemedy("Delete that link first.")
		}
	}
	return nil
}

// AcceptLink consents to a link, in the name of the account that is linked. The
// grant is for ActionAcceptLink on link/ID of that account.
//
// Errors: fault.NotFound for a link that is not with the account.
func (s *Service) AcceptLink(ctx context.Context, g iam.Grant, id string) (l Link, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionAcceptLink, s.OwnResource(account, "link/"+id))
	if err != nil {
		return Link{}, err
	}
	defer e.end(&err)
	at, found := s.ix.allLinks()[id]
	if !found || at.T.Account != account {
		return Link{}, noLink(e.op, id, account)
	}
	if l = at.T; l.Accepted() {
		return l, nil
	}
	l.AcceptedBy, l.AcceptedAt = g.Request().Principal.ARN, s.cfg.Now().UTC()
	return l, s.commit(ctx, write{at.key, at.rev, l})
}

func noLink(op, id string, account tenant.AccountID) error {
	return fault.New(op, fault.NotFound, "There is no link %q of account %s.", printable(id), account).WithCode("ResourceNotFoundException")
}

// ListLinks lists the links that an account is a side of, by id. The grant is for
// ActionListLinks on link/* of the account. The operators get all.
func (s *Service) ListLinks(ctx context.Context, g iam.Grant, in PageInput) (Page[Link], error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionListLinks, s.OwnResource(account, "link/*")); err != nil {
		return Page[Link]{}, err
	}
	found := map[string]Link{}
	for id, l := range s.ix.allLinks() {
		if account == s.management || l.T.Provider == account || l.T.Account == account {
			found[id] = l.T
		}
	}
	return pageOf("control.ListLinks", in, slices.Collect(maps.Keys(found)), func(id string) (Link, error) { return found[id], nil })
}

// DeleteLink ends a link; either side may. Calls that run there finish, and no
// other begins there. The grant is for ActionDeleteLink on link/ID of the
// account.
func (s *Service) DeleteLink(ctx context.Context, g iam.Grant, id string) (err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionDeleteLink, s.OwnResource(account, "link/"+id))
	if err != nil {
		return err
	}
	defer e.end(&err)
	at, found := s.ix.allLinks()[id]
	if !found || at.T.Provider != account && at.T.Account != account {
		return noLink(e.op, id, account)
	}
	return s.commit(ctx, write{key: at.key, last: at.rev})
}

// linkedFor finds the account that is linked for an end tenant, if both sides
// consent and it still is a child tenant of the provider.
func (s *Service) linkedFor(provider tenant.AccountID, id tenant.EndTenantID, uid tenant.UID) (*account, bool) {
	l, found := s.ix.links.get(endName{provider, id})
	if !found || l.EndTenantUID != uid || !l.Accepted() {
		return nil, false
	}
	a, found := s.ix.accounts.get(l.Account)
	return a, found && a.Parent == provider
}

// allLinks gives the links by id. The map is not to be written to.
func (ix *index) allLinks() map[string]held[Link] {
	if all := ix.linked.Load(); all != nil {
		return *all
	}
	return nil
}

// installLink takes in a change of a link.
func (ix *index) installLink(c store.Item[any], before, after any) {
	defer ix.generation.Add(1)
	all := maps.Clone(ix.allLinks())
	if all == nil {
		all = map[string]held[Link]{}
	}
	if before != nil {
		l := before.(*Link)
		delete(all, l.ID)
		ix.links.remove(endName{l.Provider, l.EndTenant})
		ix.touch(l.Account)
		ix.touch(l.Provider)
	}
	if after != nil {
		l := after.(*Link)
		all[l.ID] = held[Link]{*l, c.Key, c.Revision}
		ix.links.set(endName{l.Provider, l.EndTenant}, l)
		ix.touch(l.Account)
		ix.touch(l.Provider)
	}
	ix.linked.Store(&all)
}
