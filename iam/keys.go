package iam

import (
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/isolation"
)

// OrgID is the installation as aws:PrincipalOrgID and aws:ResourceOrgID have it.
const OrgID = "o-carrel"

// TenantTag is the tag that the platform gives every principal: its tenant.
// Nobody else can set a tag of this name, whatever its case.
const TenantTag = "tenant_id"

// IsTenantTag tells whether a tag's key is the platform's own.
func IsTenantTag(key string) bool { return strings.EqualFold(key, TenantTag) }

// clockText is the second that it is, as policies write it.
type clockText struct {
	second      int64
	date, epoch string
}

func (a *Authority) now() *clockText {
	now := a.Now()
	if t := a.clock.Load(); t != nil && t.second == now.Unix() {
		return t
	}
	t := &clockText{now.Unix(), now.UTC().Format(time.RFC3339), strconv.FormatInt(now.Unix(), 10)}
	a.clock.Store(t)
	return t
}

// The condition keys that every request may have.
var (
	keyCurrentTime        = policy.NameOf("aws:currenttime")
	keyEpochTime          = policy.NameOf("aws:epochtime")
	keyFederatedProvider  = policy.NameOf("aws:federatedprovider")
	keyMFAPresent         = policy.NameOf("aws:multifactorauthpresent")
	keyPrincipalAccount   = policy.NameOf("aws:principalaccount")
	keyPrincipalARN       = policy.NameOf("aws:principalarn")
	keyPrincipalIsService = policy.NameOf("aws:principalisawsservice")
	keyPrincipalOrgID     = policy.NameOf("aws:principalorgid")
	keyPrincipalType      = policy.NameOf("aws:principaltype")
	keyRequestedRegion    = policy.NameOf("aws:requestedregion")
	keyResourceAccount    = policy.NameOf("aws:resourceaccount")
	keyResourceOrgID      = policy.NameOf("aws:resourceorgid")
	keySecureTransport    = policy.NameOf("aws:securetransport")
	keySourceIdentity     = policy.NameOf("aws:sourceidentity")
	keySourceIP           = policy.NameOf("aws:sourceip")
	keyTokenIssueTime     = policy.NameOf("aws:tokenissuetime")
	keyUserAgent          = policy.NameOf("aws:useragent")
	keyUserID             = policy.NameOf("aws:userid")
	keyUsername           = policy.NameOf("aws:username")
	keyViaService         = policy.NameOf("aws:viaawsservice")
	keyAccountTenant      = policy.NameOf("carrel:accounttenant")
	keyChainDepth         = policy.NameOf("carrel:chaindepth")
	keyEndTenant          = policy.NameOf("carrel:endtenant")
	keyFunctionVersion    = policy.NameOf("carrel:functionversion")
	keyStrategy           = policy.NameOf("carrel:strategy")
	keyTenantID           = policy.NameOf("carrel:tenantid")
	keyWall               = policy.NameOf("carrel:wall")
	keySourceFunctionARN  = policy.NameOf("lambda:sourcefunctionarn")
	keyTenantTag          = policy.NameOf("aws:principaltag/tenant_id")
)

// fill puts all condition keys of a request into c. What the operation brings
// along comes first, so that what follows from the credential replaces it.
func (a *Authority) fill(c *policy.Context, r *Request, w who, s *Subject) {
	for i := range r.Keys {
		if k := &r.Keys[i]; k.Multiple || len(k.Values) != 1 {
			c.SetAll(k.Name, k.Values)
		} else {
			c.Set(k.Name, k.Values[0])
		}
	}
	p := w.principal
	now := a.now()
	c.SetName(keyCurrentTime, now.date)
	c.SetName(keyEpochTime, now.epoch)
	c.SetName(keyRequestedRegion, a.Region)
	c.SetName(keySecureTransport, flag(p.Origin.TLS))
	if p.Origin.IP.IsValid() {
		c.SetName(keySourceIP, p.Origin.IP.Unmap().String())
	}
	if p.Origin.UserAgent != "" {
		c.SetName(keyUserAgent, p.Origin.UserAgent)
	}
	c.SetName(keyPrincipalIsService, flag(p.Type == call.TypeService))
	c.SetName(keyViaService, "false")
	switch p.Type {
	case call.TypeService:
	case call.TypeAnonymous:
		// It is of no account and no organisation, and must not look like it.
		c.SetName(keyPrincipalType, string(p.Type))
		c.SetName(keyUserID, "anonymous")
	case call.TypeWebIdentity:
		// It is no principal of an account yet.
		c.SetName(keyFederatedProvider, p.ARN)
	default:
		fillPrincipal(c, p, s)
	}
	a.fillTenant(c, r, w)
	fillResource(c, r, w.object)
}

func fillPrincipal(c *policy.Context, p *call.Principal, s *Subject) {
	arn := p.ARN
	if p.Type == call.TypeRole && p.Session != nil {
		arn = p.Session.Issuer
	}
	c.SetName(keyPrincipalARN, arn)
	c.SetName(keyPrincipalAccount, string(p.Account))
	c.SetName(keyPrincipalType, string(p.Type))
	c.SetName(keyPrincipalOrgID, OrgID)
	if s.OrgPath != "" {
		c.SetAll("aws:principalorgpaths", []string{s.OrgPath})
	}
	if p.UserID != "" {
		c.SetName(keyUserID, p.UserID)
	}
	if p.Type == call.TypeUser {
		c.SetName(keyUsername, p.ARN[strings.LastIndexByte(p.ARN, '/')+1:])
	}
	for _, t := range s.Tags {
		setTag(c, "aws:principaltag/", t)
	}
	if p.Session == nil {
		return
	}
	for _, t := range p.Session.Tags {
		setTag(c, "aws:principaltag/", t)
	}
	c.SetName(keyTokenIssueTime, p.Session.Issued.UTC().Format(time.RFC3339))
	c.SetName(keyMFAPresent, "false")
	if p.Session.SourceIdentity != "" {
		c.SetName(keySourceIdentity, p.Session.SourceIdentity)
	}
	if p.Session.Provider != "" {
		c.SetName(keyFederatedProvider, p.Session.Provider)
	}
	if p.Session.FunctionVersion != "" {
		c.SetName(keyFunctionVersion, p.Session.FunctionVersion)
		c.SetName(keySourceFunctionARN, unqualified(p.Session.FunctionVersion))
	}
}

// fillTenant gives the keys that say whose request it is. The tag tenant_id
// is the principal's tenant, whatever the request names.
func (a *Authority) fillTenant(c *policy.Context, r *Request, w who) {
	p := w.principal
	own := string(p.Tenant)
	if id, _ := p.ActsFor(p.Account); id != "" {
		own = string(id)
		c.SetName(keyEndTenant, own)
	}
	id := own
	if r.EndTenant != "" {
		id = string(r.EndTenant)
		c.SetName(keyEndTenant, id)
	}
	if p.Tenant != "" {
		c.SetName(keyAccountTenant, string(p.Tenant))
	}
	if own != "" {
		c.SetName(keyTenantTag, own)
	}
	if id != "" {
		c.SetName(keyTenantID, id)
	}
	c.SetName(keyChainDepth, strconv.Itoa(w.depth))
	c.SetName(keyStrategy, strategyOf(r, p).String())
	c.SetName(keyWall, max(r.wall, a.MinWall, isolation.Process).String())
}

// strategyOf gives the strategy of a call that is asked for, and else that of
// who asks.
func strategyOf(r *Request, p *call.Principal) isolation.Strategy {
	switch s := p.Session; {
	case r.strategy != isolation.NoStrategy:
		return r.strategy
	case s != nil && s.EndTenantOf != "":
		return isolation.Account
	case s != nil && s.Template != "":
		return isolation.Function
	}
	return isolation.Namespace
}

func fillResource(c *policy.Context, r *Request, o *Object) {
	c.SetName(keyResourceAccount, string(r.Owner.Account))
	c.SetName(keyResourceOrgID, OrgID)
	if o.OrgPath != "" {
		c.SetAll("aws:resourceorgpaths", []string{o.OrgPath})
	}
	ofIAM := strings.HasPrefix(r.Resource, "arn:aws:iam:")
	for _, t := range o.Tags {
		c.Set("aws:resourcetag/"+t.Key, t.Value)
		if ofIAM {
			c.Set("iam:resourcetag/"+t.Key, t.Value) // IAM's older name for it
		}
	}
}

// setTag gives a tag of a principal, unless it is the platform's own: nobody
// can set that, and a record that holds it all the same changes nothing.
func setTag(c *policy.Context, prefix string, t call.Tag) {
	if !IsTenantTag(t.Key) {
		c.Set(prefix+t.Key, t.Value)
	}
}

func flag(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// unqualified gives a function's ARN without its version.
func unqualified(arn string) string {
	parts := strings.SplitN(arn, ":", 8)
	if len(parts) < 8 {
		return arn
	}
	return strings.Join(parts[:7], ":")
}
