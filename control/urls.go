package control

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// urlRecord is the URL of a function, or of one of its aliases.
type urlRecord struct {
	function.URLConfig
	Function tenant.UID `json:"function"`
}

// URLOwner is what a URL leads to.
type URLOwner struct {
	function.URLConfig
	Account tenant.AccountID
	Name    function.Name
}

// URLInput is what a URL is made with, or changed to. What is empty or nil
// stays as it was in a change.
type URLInput struct {
	Name function.Name
	// Qualifier is an alias; empty for $LATEST.
	Qualifier string
	Auth      function.URLAuth
	Mode      function.InvokeMode
	CORS      *function.CORS
}

// Bounds of Cors, as in Lambda.
const (
	maxCORSList = 100
	maxCORSAge  = 86400
)

// URL gives what the id of a URL leads to. It is for the request path: it
// takes no lock and no grant, as the call that follows is authorised itself.
func (s *Service) URL(id string) (*URLOwner, bool) { return s.ix.urls.get(id) }

// CreateURL gives a function a URL, one for each qualifier.
//
// Errors: fault.Conflict if there is one, fault.NotFound for a qualifier that
// is not there, fault.Invalid for a public URL of a function with end tenants:
// nobody could say for which of them a caller speaks.
func (s *Service) CreateURL(ctx context.Context, g iam.Grant, in URLInput) (out function.URLConfig, err error) {
	const op = "control.CreateURL"
	a, d, err := s.change(ctx, g, ActionCreateURL, in.Name)
	if err != nil {
		return out, err
	}
	defer a.end(&err)
	if err := d.checkURL(op, in); err != nil {
		return out, err
	}
	if in.Auth == "" {
		return out, constraint(op, "null", "authType", "Member must not be null")
	}
	if _, exists := d.urls[in.Qualifier]; exists {
		return out, fault.New(op, fault.Conflict, "FunctionUrlConfig exists for this Lambda function").WithCode("ResourceConflictException")
	}
	now := s.cfg.Now().UTC()
	out = function.URLConfig{ID: newURLID(), Qualifier: in.Qualifier, Auth: in.Auth, Mode: in.Mode, CORS: in.CORS, Created: now, LastModified: now}
	if out.Mode == "" {
		out.Mode = function.Buffered
	}
	k, err := s.hide(urlFamily, d.AccountUID, "/"+in.Qualifier, string(d.UID))
	if err != nil {
		return out, err
	}
	return out, s.save(ctx, k, 0, urlRecord{URLConfig: out, Function: d.UID})
}

// newURLID makes the id of a URL: 160 random bits, so that none is ever given
// twice and none can be guessed, in letters and digits that hosts are made of.
func newURLID() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	var b [32]byte
	rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return string(b[:])
}

// IsURLID tells whether a label has the form of a URL's id.
func IsURLID(s string) bool {
	if len(s) != 32 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func (d *deployed) checkURL(op string, in URLInput) error {
	if err := d.urlQualifier(op, in.Qualifier); err != nil {
		return err
	}
	switch {
	case in.Auth != function.URLAuthNone && in.Auth != function.URLAuthIAM && in.Auth != "":
		return constraint(op, printable(string(in.Auth)), "authType", "Member must satisfy enum value set: [NONE, AWS_IAM]")
	case in.Mode != "" && in.Mode != function.Buffered && in.Mode != function.ResponseStream:
		return constraint(op, printable(string(in.Mode)), "invokeMode", "Member must satisfy enum value set: [BUFFERED, RESPONSE_STREAM]")
	case in.Auth == function.URLAuthNone && d.Tenancy == function.PerTenant:
		return fault.New(op, fault.Invalid, "A function with end tenants has no public URL: whoever calls it could take any tenant's place.").
			WithCode("InvalidParameterValueException").WithRemedy("Use AuthType AWS_IAM; signed requests name the tenant in X-Amz-Tenant-Id.")
	}
	return checkCORS(op, in.CORS)
}

// urlQualifier refuses what has no URL: $LATEST has the function's own, and
// versions have none, as in Lambda.
func (d *deployed) urlQualifier(op, qualifier string) error {
	if qualifier == "" {
		return nil
	}
	if qualifier == function.Latest || function.IsVersion(qualifier) {
		return invalid(op, "A function URL belongs to a function or to an alias, not to a version.")
	}
	if _, found := d.aliases[qualifier]; !found {
		return functionNotFound(d.arn(qualifier))
	}
	return nil
}

func checkCORS(op string, c *function.CORS) error {
	if c == nil {
		return nil
	}
	for field, list := range map[string][]string{
		"allowHeaders": c.AllowHeaders, "allowMethods": c.AllowMethods, "allowOrigins": c.AllowOrigins, "exposeHeaders": c.ExposeHeaders,
	} {
		if len(list) > maxCORSList {
			return constraint(op, "cors."+field, "cors."+field, "Member must have length less than or equal to 100")
		}
		for _, v := range list {
			if v == "" || len(v) > 253 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) {
				return constraint(op, printable(v), "cors."+field, "Member must be one header, method or origin")
			}
		}
	}
	if c.MaxAge != nil && (*c.MaxAge < 0 || *c.MaxAge > maxCORSAge) {
		return constraint(op, "cors.maxAge", "cors.maxAge", "Member must have value between 0 and 86400")
	}
	return nil
}

func (d *deployed) url(op, qualifier string) (*held[urlRecord], error) {
	if err := d.urlQualifier(op, qualifier); err != nil {
		return nil, err
	}
	u, found := d.urls[qualifier]
	if !found {
		return nil, fault.New(op, fault.NotFound, "The resource you requested does not exist.").WithCode("ResourceNotFoundException")
	}
	return u, nil
}

// GetURL gives the URL of a function or alias.
func (s *Service) GetURL(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (function.URLConfig, error) {
	d, err := s.read(ctx, g, ActionGetURL, name)
	if err != nil {
		return function.URLConfig{}, err
	}
	u, err := d.url("control.GetURL", qualifier)
	if err != nil {
		return function.URLConfig{}, err
	}
	return u.T.URLConfig, nil
}

// UpdateURL changes a URL; its id stays. An empty CORS takes it away.
func (s *Service) UpdateURL(ctx context.Context, g iam.Grant, in URLInput) (out function.URLConfig, err error) {
	const op = "control.UpdateURL"
	a, d, err := s.change(ctx, g, ActionUpdateURL, in.Name)
	if err != nil {
		return out, err
	}
	defer a.end(&err)
	u, err := d.url(op, in.Qualifier)
	if err != nil {
		return out, err
	}
	if err := d.checkURL(op, in); err != nil {
		return out, err
	}
	r := u.T
	if in.Auth != "" {
		r.Auth = in.Auth
	}
	if in.Mode != "" {
		r.Mode = in.Mode
	}
	if in.CORS != nil {
		r.CORS = in.CORS
		if c := in.CORS; !c.AllowCredentials && c.MaxAge == nil && len(c.AllowHeaders)+len(c.AllowMethods)+len(c.AllowOrigins)+len(c.ExposeHeaders) == 0 {
			r.CORS = nil
		}
	}
	r.LastModified = s.cfg.Now().UTC()
	return r.URLConfig, s.save(ctx, u.key, u.rev, r)
}

// DeleteURL takes a URL away. Its id leads nowhere from then on.
func (s *Service) DeleteURL(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (err error) {
	a, d, err := s.change(ctx, g, ActionDeleteURL, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	u, err := d.url("control.DeleteURL", qualifier)
	if err != nil {
		return err
	}
	return s.remove(ctx, u.key, u.rev)
}

// ListURLs lists the URLs of a function and its aliases.
func (s *Service) ListURLs(ctx context.Context, g iam.Grant, name function.Name, in ListInput) (Page[function.URLConfig], error) {
	d, err := s.read(ctx, g, ActionListURLs, name)
	if err != nil {
		return Page[function.URLConfig]{}, err
	}
	// Marks are not empty, so names are told by a sign that no alias begins with.
	names := make([]string, 0, len(d.urls))
	for q := range maps.Keys(d.urls) {
		names = append(names, "/"+q)
	}
	return pageOf("control.ListURLs", in.page(), names, func(q string) (function.URLConfig, error) {
		return d.urls[q[1:]].T.URLConfig, nil
	})
}

// showURLs makes ids lead to what a function's view has, and no more to what
// the view before had.
func (ix *index) showURLs(before, after *deployed) {
	kept := map[string]bool{}
	if after != nil {
		for _, u := range after.urls {
			kept[u.T.ID] = true
			ix.urls.set(u.T.ID, &URLOwner{u.T.URLConfig, after.Account, after.Name})
		}
	}
	if before != nil {
		for _, u := range before.urls {
			if !kept[u.T.ID] {
				ix.urls.remove(u.T.ID)
			}
		}
	}
}

// tenantsStatements is a policy without the statements that let in callers
// without credentials by a public URL: those belong to no tenant. A signed
// request never comes by one, so for it such a statement never holds.
func tenantsStatements(r permissionRecord) *permissionRecord {
	r.Statements = slices.DeleteFunc(slices.Clone(r.Statements), func(p permission) bool {
		return p.Action == iam.InvokeURLAction && p.Principal == "*" && p.URLAuthType == string(function.URLAuthNone)
	})
	return &r
}
