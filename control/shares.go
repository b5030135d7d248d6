package control

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// A share is the owner's consent that another tenant may reach a resource. It
// allows nothing by itself: policies do. It is what changes are judged with,
// so it is made before the policy that needs it.

// maxShares is how many shares an account may have.
const maxShares = 1_000

// CreateShareInput is a share: of a resource, by its ARN with wildcards after
// the account, with a tenant by name or account.
type CreateShareInput struct {
	Resource string
	With     string
	Reason   string
}

// CreateShare makes a share. Only the account that owns the resource can, and
// the grant is for ActionCreateShare on share/* of that account.
//
// Errors: fault.Denied for a resource that is not the account's, or is not
// known to be; fault.NotFound for the tenant.
func (s *Service) CreateShare(ctx context.Context, g iam.Grant, in CreateShareInput) (r directory.Share, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreateShare, s.OwnResource(account, "share/*"))
	if err != nil {
		return directory.Share{}, err
	}
	defer e.end(&err)
	if err := checkReason(e.op, in.Reason); err != nil {
		return directory.Share{}, err
	}
	if len(in.Resource) > maxPattern || strings.ContainsAny(in.Resource, "{}$ \t\r\n\"\\") {
		return directory.Share{}, invalid(e.op, "The resource %q is no ARN.", printable(in.Resource))
	}
	if owner, known := s.ownerOf(in.Resource); !known || owner != account {
		return directory.Share{}, fault.New(e.op, fault.Denied, "Account %s is not known to own %s, and only the owner can share it.", account, printable(in.Resource)).
			WithCode("AccessDeniedException").WithRemedy("Name resources with your account's number in their ARN, or of a layout with your tenant's id in its place; carrel layout list shows the layouts.")
	}
	with, err := s.tenantNamed(e.op, in.With)
	if err != nil {
		return directory.Share{}, err
	}
	if with.Account == account || with.Status == tenant.Closing {
		return directory.Share{}, invalid(e.op, "The resource cannot be shared with %q: it is the owner, or was deleted.", printable(in.With))
	}
	own := 0
	for _, other := range s.ix.org.Load().Shares {
		if other.Record.Owner == account {
			own++
		}
		if other.Record.Resource == in.Resource && other.Record.With == with.Account {
			return directory.Share{}, fault.New(e.op, fault.Conflict, "The resource is shared with %s already, by the share %s.", with.Slug, other.Record.ID).WithCode("ConflictException")
		}
	}
	if own >= maxShares {
		return directory.Share{}, fault.New(e.op, fault.Throttled, "An account may have %d shares.", maxShares).WithCode("LimitExceededException")
	}
	r = directory.Share{
		ID: "share-" + strings.ToLower(rand.Text()[:16]), Resource: in.Resource, Owner: account, With: with.Account,
		Reason: in.Reason, By: g.Request().Principal.ARN, CreatedAt: s.cfg.Now().UTC(),
	}
	k, err := newKey(shareFamily, string(e.owner), r.ID)
	if err != nil {
		return directory.Share{}, err
	}
	return r, s.commit(ctx, write{key: k, record: r})
}

// ListShares lists the shares that an account made, and those made with it, by
// id. The grant is for ActionListShares on share/* of the account. The
// operators get all.
func (s *Service) ListShares(ctx context.Context, g iam.Grant, in PageInput) (Page[directory.Share], error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionListShares, s.OwnResource(account, "share/*")); err != nil {
		return Page[directory.Share]{}, err
	}
	found := map[string]directory.Share{}
	for id, r := range s.ix.org.Load().Shares {
		if account == s.management || r.Record.Owner == account || r.Record.With == account {
			found[id] = *r.Record
		}
	}
	return pageOf("control.ListShares", in, slices.Collect(maps.Keys(found)), func(id string) (directory.Share, error) { return found[id], nil })
}

// DeleteShare ends a share of the grant's account. It is refused while a
// policy needs it. The grant is for ActionDeleteShare on share/ID.
func (s *Service) DeleteShare(ctx context.Context, g iam.Grant, id string) (err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionDeleteShare, s.OwnResource(account, "share/"+id))
	if err != nil {
		return err
	}
	defer e.end(&err)
	r, found := s.ix.org.Load().Shares[id]
	if !found || r.Record.Owner != account {
		return fault.New(e.op, fault.NotFound, "There is no share %q of account %s.", printable(id), account).WithCode("ResourceNotFoundException")
	}
	return s.commit(ctx, write{key: r.Key, last: r.Revision})
}
