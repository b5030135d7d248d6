package control

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// CreateProviderInput is a new OIDC identity provider. URL is the issuer as
// its tokens write it, with https://.
type CreateProviderInput struct {
	URL         string
	ClientIDs   []string
	Thumbprints []string
	Tags        []call.Tag
}

// ProviderResource is the resource of operations on an OIDC provider: its ARN,
// which is made of the issuer without https:// and a slash at the end.
func ProviderResource(account tenant.AccountID, issuer string) string {
	return "arn:aws:iam::" + string(account) + ":oidc-provider/" + strings.TrimSuffix(strings.TrimPrefix(issuer, "https://"), "/")
}

var thumbprintForm = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)

// CreateOpenIDConnectProvider makes an identity provider that roles of the
// account may trust. Tokens set no session tag until PutProviderClaimTags says
// which claims may. The grant is for the resource ProviderResource.
//
// Errors: EntityAlreadyExists; InvalidInput; LimitExceeded.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, g iam.Grant, in CreateProviderInput) (r directory.Provider, err error) {
	account := g.Request().Owner.Account
	e, err := s.editing(ctx, g, ActionCreateProvider, ProviderResource(account, in.URL))
	if err != nil {
		return directory.Provider{}, err
	}
	defer e.end(&err)
	if err := checkProvider(e.op, in); err != nil {
		return directory.Provider{}, err
	}
	r = directory.Provider{
		Account: account, ARN: ProviderResource(account, in.URL), URL: in.URL, ClientIDs: slices.Clone(in.ClientIDs),
		Thumbprints: lowered(in.Thumbprints), Tags: slices.Clone(in.Tags), CreatedAt: s.cfg.Now().UTC(),
	}
	if _, taken := e.in.Providers.Taken(r.ARN); taken {
		return directory.Provider{}, alreadyExists(e.op, "Provider with url %s already exists.", printable(in.URL))
	}
	if e.in.Providers.Len() >= maxProviders {
		return directory.Provider{}, overQuota(e.op, "OpenIDConnectProvidersPerAccount", maxProviders)
	}
	return r, e.create(ctx, providerFamily, foldedName(r.ARN), r)
}

func checkProvider(op string, in CreateProviderInput) error {
	u, err := url.Parse(in.URL)
	switch {
	case len(in.URL) > maxProviderURL:
		return breaks(op, in.URL, "url", "Member must have length less than or equal to 255")
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return invalidInput(op, "The URL %s is not one of an issuer: it begins with https:// and has no user, query or fragment.", printable(in.URL))
	case strings.ContainsAny(u.Path, "*?:$") || u.EscapedPath() != u.Path || strings.HasSuffix(u.Path, "//"):
		return invalidInput(op, "The URL %s has an unusual form; write the path without escapes.", printable(in.URL))
	}
	if err := checkClientIDs(op, in.ClientIDs); err != nil {
		return err
	}
	if err := checkThumbprints(op, in.Thumbprints); err != nil {
		return err
	}
	return checkIAMTags(op, in.Tags)
}

func checkClientIDs(op string, ids []string) error {
	if len(ids) > maxClientIDs {
		return overQuota(op, "ClientIdsPerOpenIdConnectProvider", maxClientIDs)
	}
	for _, id := range ids {
		if id == "" || len(id) > maxClientID {
			return breaks(op, id, "clientIDList.member", "Member must have length between 1 and 255")
		}
	}
	return nil
}

// checkThumbprints checks the form of thumbprints. They are kept for clients
// that give them; a provider's certificate is checked as any server's.
func checkThumbprints(op string, list []string) error {
	if len(list) > maxThumbprints {
		return invalidInput(op, "Thumbprint list must contain fewer than 5 entries.")
	}
	for _, t := range list {
		if !thumbprintForm.MatchString(t) {
			return breaks(op, t, "thumbprintList.member", "Member must have 40 hexadecimal digits")
		}
	}
	return nil
}

// lowered gives thumbprints in lower case, as AWS keeps them.
func lowered(thumbprints []string) []string {
	list := make([]string, len(thumbprints))
	for i, t := range thumbprints {
		list[i] = strings.ToLower(t)
	}
	return list
}

// noProvider says it as AWS does, which has one sentence for Get and what
// changes a provider's lists, and another for the rest.
func noProvider(op, arn string) error {
	switch op {
	case opOf(ActionDeleteProvider), opOf(ActionTagProvider), opOf(ActionUntagProvider), opOf(ActionListProviderTags):
		return noSuchEntity(op, "OpenId connect Provider %s cannot be found.", printable(arn))
	}
	return noSuchEntity(op, "OpenIDConnect Provider not found for arn %s", printable(arn))
}

// GetOpenIDConnectProvider gives an identity provider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn string) (directory.Provider, error) {
	return s.providerAt(ctx, g, ActionGetProvider, arn)
}

func (s *Service) providerAt(ctx context.Context, g iam.Grant, action, arn string) (directory.Provider, error) {
	in, err := s.looking(ctx, g, action, arn)
	if err != nil {
		return directory.Provider{}, err
	}
	r, found := in.Providers.Get(arn)
	if !found {
		return directory.Provider{}, noProvider(opOf(action), arn)
	}
	return *r.Record, nil
}

// ListOpenIDConnectProviders gives the ARNs of the account's providers.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, g iam.Grant) ([]string, error) {
	in, err := s.looking(ctx, g, ActionListProviders, IdentitiesResource(g.Request().Owner.Account, sortProvider))
	if err != nil {
		return nil, err
	}
	var list []string
	in.Providers.Each(func(r *directory.Entry[directory.Provider]) bool { list = append(list, r.Record.ARN); return true })
	slices.Sort(list)
	return list, nil
}

// providerChange is a change of a provider; it works on a copy whose lists
// must not be written to.
type providerChange struct {
	arn    string
	change func(op string, r *directory.Provider) error
}

func (s *Service) changeProvider(ctx context.Context, g iam.Grant, action string, c providerChange) (err error) {
	e, err := s.editing(ctx, g, action, c.arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	at, found := e.in.Providers.Get(c.arn)
	if !found {
		return noProvider(e.op, c.arn)
	}
	r := *at.Record
	if err := c.change(e.op, &r); err != nil {
		return err
	}
	return update(ctx, e, at, r)
}

// DeleteOpenIDConnectProvider removes an identity provider. As in AWS, roles
// that trust it stay and cannot be assumed by its tokens any more, and one
// that is not there is an error.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn string) (err error) {
	e, err := s.editing(ctx, g, ActionDeleteProvider, arn)
	if err != nil {
		return err
	}
	defer e.end(&err)
	at, found := e.in.Providers.Get(arn)
	if !found {
		return noProvider(e.op, arn)
	}
	return erase(ctx, e, at)
}

// AddClientIDToOpenIDConnectProvider adds an audience that tokens may be for.
// One that is there is no error.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn, clientID string) error {
	return s.changeProvider(ctx, g, ActionAddClientID, providerChange{arn, func(op string, r *directory.Provider) error {
		if !slices.Contains(r.ClientIDs, clientID) {
			r.ClientIDs = append(slices.Clip(r.ClientIDs), clientID)
		}
		return checkClientIDs(op, r.ClientIDs)
	}})
}

// RemoveClientIDFromOpenIDConnectProvider removes an audience. One that is not
// there is no error.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn, clientID string) error {
	return s.changeProvider(ctx, g, ActionRemoveClientID, providerChange{arn, func(_ string, r *directory.Provider) error {
		r.ClientIDs = slices.DeleteFunc(slices.Clone(r.ClientIDs), func(id string) bool { return id == clientID })
		return nil
	}})
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, g iam.Grant, arn string, list []string) error {
	return s.changeProvider(ctx, g, ActionUpdateProviderThumbprint, providerChange{arn, func(op string, r *directory.Provider) error {
		r.Thumbprints = lowered(list)
		return checkThumbprints(op, list)
	}})
}

// PutProviderClaimTags says which claims of a provider's tokens set which
// session tags, in place of what was said before. A claim that is not listed
// sets none.
func (s *Service) PutProviderClaimTags(ctx context.Context, g iam.Grant, arn string, claims map[string]string) error {
	return s.changeProvider(ctx, g, ActionPutProviderClaimTags, providerChange{arn, func(op string, r *directory.Provider) error {
		if len(claims) > maxClaimTags {
			return invalidInput(op, "%d claims are listed; at most %d may be.", len(claims), maxClaimTags)
		}
		var tags []call.Tag
		for claim, key := range claims {
			if claim == "" || len(claim) > maxTagKey {
				return invalidInput(op, "The claim %s has %d characters; 1 to %d are allowed.", printable(claim), len(claim), maxTagKey)
			}
			tags = append(tags, call.Tag{Key: key})
		}
		r.ClaimTags = maps.Clone(claims)
		return checkIAMTags(op, tags)
	}})
}

// ProviderClaimTags is what a provider's claims may set: for each claim, the
// key of the session tag.
type ProviderClaimTags struct {
	Provider string
	Claims   map[string]string
}

// ListProviderClaimTags lists the account's providers, those without claims
// that set tags too, by ARN. The grant is for ActionListProviderClaimTags on
// the account's providers. The claims must not be written to.
func (s *Service) ListProviderClaimTags(ctx context.Context, g iam.Grant, page PageInput) (Page[ProviderClaimTags], error) {
	in, err := s.looking(ctx, g, ActionListProviderClaimTags, IdentitiesResource(g.Request().Owner.Account, sortProvider))
	if err != nil {
		return Page[ProviderClaimTags]{}, err
	}
	found := map[string]ProviderClaimTags{}
	in.Providers.Each(func(r *directory.Entry[directory.Provider]) bool {
		found[r.Record.ARN] = ProviderClaimTags{r.Record.ARN, r.Record.ClaimTags}
		return true
	})
	return pageOf("control.ListProviderClaimTags", page, slices.Collect(maps.Keys(found)), func(arn string) (ProviderClaimTags, error) { return found[arn], nil })
}

// TagOpenIDConnectProvider adds tags to a provider, or changes them.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn string, tags []call.Tag) error {
	return s.changeProvider(ctx, g, ActionTagProvider, providerChange{arn, func(op string, r *directory.Provider) (err error) {
		r.Tags, err = addTags(op, slices.Clone(r.Tags), tags)
		return err
	}})
}

// UntagOpenIDConnectProvider removes tags of a provider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, g iam.Grant, arn string, keys []string) error {
	return s.changeProvider(ctx, g, ActionUntagProvider, providerChange{arn, func(_ string, r *directory.Provider) error {
		r.Tags = removeTags(slices.Clone(r.Tags), keys)
		return nil
	}})
}

// ListOpenIDConnectProviderTags lists a provider's tags by key.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, g iam.Grant, arn string, in PageInput) (Page[call.Tag], error) {
	r, err := s.providerAt(ctx, g, ActionListProviderTags, arn)
	if err != nil {
		return Page[call.Tag]{}, err
	}
	return tagPage("tags/"+arn, in, r.Tags)
}
