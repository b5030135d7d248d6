package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// anonymous is the principal of a request without credentials.
const anonymous = "anonymous"

// principalOf reads who asks.
func principalOf(text, action string) (policy.Principal, error) {
	if text == anonymous {
		return policy.Principal{Type: policy.Anonymous}, nil
	}
	parts := strings.SplitN(text, ":", 6)
	if len(parts) < 6 {
		return hostOf(text, action)
	}
	p := policy.Principal{Account: parts[4], ARN: text}
	kind, name, _ := strings.Cut(parts[5], "/")
	if parts[0] != "arn" || !policy.IsAccount(p.Account) || name == "" && parts[5] != "root" {
		return p, unknownPrincipal(text)
	}
	switch parts[2] + ":" + kind {
	case "iam:root":
		p.Type = policy.Root
	case "iam:user":
		p.Type = policy.User
	case "iam:role":
		// The role as such, as if in any of its sessions.
		p.Type, p.Issuer = policy.Role, text
	case "sts:assumed-role":
		role, session, _ := strings.Cut(name, "/")
		if role == "" || session == "" {
			return p, unknownPrincipal(text)
		}
		p.Type, p.Issuer = policy.Role, "arn:"+parts[1]+":iam::"+p.Account+":role/"+role
	case "sts:federated-user":
		p.Type = policy.Federated
	case "iam:oidc-provider", "iam:saml-provider":
		p.Type, p.Account = policy.WebIdentity, ""
	default:
		return p, unknownPrincipal(text)
	}
	return p, nil
}

// hostOf reads the host of a service, or of an identity provider where that
// is who asks.
func hostOf(text, action string) (policy.Principal, error) {
	if !strings.Contains(text, ".") || strings.ContainsAny(text, ":/*? \t") {
		return policy.Principal{}, unknownPrincipal(text)
	}
	p := policy.Principal{Type: policy.Service, ARN: text}
	if strings.EqualFold(action, "sts:AssumeRoleWithWebIdentity") {
		p.Type = policy.WebIdentity
	}
	return p, nil
}

func unknownPrincipal(text string) error {
	return fmt.Errorf("%q is not a principal: write the ARN of a root, user, role, session, federated user or identity provider, a service's host, or %q", text, anonymous)
}

// issuer gives the ARN of a session's role, or of the user who federated, where
// aws:PrincipalArn of the request says it: the principal's own ARN holds
// neither a role's path nor that user.
func (c *Case) issuer(p *policy.Principal) string {
	want := policy.User
	if p.Type == policy.Role && p.ARN != p.Issuer {
		want = policy.Role
	} else if p.Type != policy.Federated {
		return p.Issuer
	}
	for key, v := range c.Request.Context {
		if !strings.EqualFold(key, "aws:PrincipalArn") || v.Set {
			continue
		}
		given, err := principalOf(v.Texts[0], "")
		if err == nil && given.Type == want && given.Account == p.Account && (want == policy.User || last(given.ARN) == last(p.Issuer)) {
			return given.ARN
		}
	}
	return p.Issuer
}

func last(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// types are the values of aws:PrincipalType.
var types = [...]string{
	policy.Anonymous: "Anonymous", policy.Root: "Account", policy.User: "User", policy.Role: "AssumedRole",
	policy.Federated: "FederatedUser", policy.Service: "Service", policy.WebIdentity: "",
}

// context gives the condition keys: those that follow from the request, and
// then those that it gives. There is no clock: aws:CurrentTime is what the
// request says.
func (c *Case) context(r *policy.Request) *policy.Context {
	keys := &policy.Context{}
	p := &r.Principal
	keys.Set("aws:PrincipalIsAWSService", "false")
	switch p.Type {
	case policy.Service:
		keys.Set("aws:PrincipalIsAWSService", "true")
		keys.Set("aws:PrincipalServiceName", p.ARN)
		keys.SetAll("aws:PrincipalServiceNamesList", []string{p.ARN})
	case policy.WebIdentity:
		keys.Set("aws:FederatedProvider", p.ARN)
	case policy.Root, policy.User, policy.Federated, policy.Role:
		arn := p.ARN
		if p.Type == policy.Role {
			arn = p.Issuer
		}
		keys.Set("aws:PrincipalArn", arn)
		keys.Set("aws:PrincipalAccount", p.Account)
	case policy.Anonymous:
	}
	if p.Type == policy.User {
		keys.Set("aws:username", last(p.ARN))
	}
	if name := types[p.Type]; name != "" && p.Type != policy.Service {
		keys.Set("aws:PrincipalType", name)
	}
	if r.ResourceAccount != "" {
		keys.Set("aws:ResourceAccount", r.ResourceAccount)
	}
	for key, v := range c.Request.Context {
		if v.Set {
			keys.SetAll(key, v.Texts)
		} else {
			keys.Set(key, v.Texts[0])
		}
	}
	return keys
}

// mustBeTrusted tells whether the resource is a role that is to be assumed,
// which has to allow explicitly even inside its own account.
func mustBeTrusted(action string) bool {
	name, found := strings.CutPrefix(strings.ToLower(action), "sts:")
	return found && (strings.HasPrefix(name, "assumerole") || name == "tagsession" || name == "setsourceidentity")
}

// refusedByResource tells whether the resource is one that takes no Allow of
// another: the platform's own, or a key of KMS whose policy does not allow. A
// key's policy has to allow inside its own account too, if only the account.
func refusedByResource(r *policy.Request, e *policy.Explanation) bool {
	if platformOwned(r.Action, r.Resource) {
		return true
	}
	parts := strings.SplitN(r.Resource, ":", 6)
	if len(parts) < 6 || parts[2] != "kms" || !strings.HasPrefix(parts[5], "key/") {
		return false
	}
	return !slices.ContainsFunc(e.Statements, func(s policy.Reference) bool { return s.Layer == policy.LayerResource })
}

// platformOwned tells whether an action would change what belongs to the
// platform, though it is listed in the account: whatever policies say, that is
// nobody's to change.
func platformOwned(action, resource string) bool {
	service, name, _ := strings.Cut(strings.ToLower(action), ":")
	parts := strings.SplitN(resource, ":", 6)
	if len(parts) < 6 || parts[2] != service {
		return false
	}
	switch service {
	case "iam":
		for _, reading := range [...]string{"get", "list", "generate", "simulate"} {
			if strings.HasPrefix(name, reading) {
				return false
			}
		}
		return parts[4] == "aws" || strings.HasPrefix(parts[5], "role/aws-reserved/")
	case "kms":
		return strings.HasPrefix(parts[5], "alias/aws/") && strings.HasSuffix(name, "alias")
	}
	return false
}
