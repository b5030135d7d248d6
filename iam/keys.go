package iam

import (
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam/policy"
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
	c.Set("aws:currenttime", now.date)
	c.Set("aws:epochtime", now.epoch)
	c.Set("aws:requestedregion", a.Region)
	c.Set("aws:securetransport", flag(p.Origin.TLS))
	if p.Origin.IP.IsValid() {
		c.Set("aws:sourceip", p.Origin.IP.Unmap().String())
	}
	if p.Origin.UserAgent != "" {
		c.Set("aws:useragent", p.Origin.UserAgent)
	}
	service := p.Type == call.TypeService
	c.Set("aws:principalisawsservice", flag(service))
	c.Set("aws:viaawsservice", "false")
	if !service {
		fillPrincipal(c, p, s)
	}
	fillTenant(c, r, w)
	fillResource(c, r, w.object)
}

func fillPrincipal(c *policy.Context, p *call.Principal, s *Subject) {
	arn := p.ARN
	if p.Type == call.TypeRole && p.Session != nil {
		arn = p.Session.Issuer
	}
	c.Set("aws:principalarn", arn)
	c.Set("aws:principalaccount", string(p.Account))
	c.Set("aws:principaltype", string(p.Type))
	c.Set("aws:principalorgid", OrgID)
	if s.OrgPath != "" {
		c.SetAll("aws:principalorgpaths", []string{s.OrgPath})
	}
	if p.UserID != "" {
		c.Set("aws:userid", p.UserID)
	}
	if p.Type == call.TypeUser {
		c.Set("aws:username", p.ARN[strings.LastIndexByte(p.ARN, '/')+1:])
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
	c.Set("aws:tokenissuetime", p.Session.Issued.UTC().Format(time.RFC3339))
	c.Set("aws:multifactorauthpresent", "false")
	if p.Session.SourceIdentity != "" {
		c.Set("aws:sourceidentity", p.Session.SourceIdentity)
	}
	if p.Session.Provider != "" {
		c.Set("aws:federatedprovider", p.Session.Provider)
	}
	if p.Session.FunctionVersion != "" {
		c.Set("carrel:functionversion", p.Session.FunctionVersion)
		c.Set("lambda:sourcefunctionarn", unqualified(p.Session.FunctionVersion))
	}
}

// fillTenant gives the keys that say whose request it is. The tag tenant_id
// is the principal's tenant, whatever the request names.
func fillTenant(c *policy.Context, r *Request, w who) {
	p := w.principal
	own := string(p.Tenant)
	if p.Session != nil && p.Session.EndTenant != "" {
		own = string(p.Session.EndTenant)
		c.Set("carrel:endtenant", own)
	}
	id := own
	if r.EndTenant != "" {
		id = string(r.EndTenant)
		c.Set("carrel:endtenant", id)
	}
	if p.Tenant != "" {
		c.Set("carrel:accounttenant", string(p.Tenant))
	}
	if own != "" {
		c.Set("aws:principaltag/"+TenantTag, own)
	}
	if id != "" {
		c.Set("carrel:tenantid", id)
	}
	c.Set("carrel:chaindepth", strconv.Itoa(w.depth))
	c.Set("carrel:strategy", "namespace")
	c.Set("carrel:wall", "process")
}

func fillResource(c *policy.Context, r *Request, o *Object) {
	c.Set("aws:resourceaccount", string(r.Owner.Account))
	c.Set("aws:resourceorgid", OrgID)
	if o.OrgPath != "" {
		c.SetAll("aws:resourceorgpaths", []string{o.OrgPath})
	}
	for _, t := range o.Tags {
		c.Set("aws:resourcetag/"+t.Key, t.Value)
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
