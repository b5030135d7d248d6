package prove

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// everything allows all: what a foreign account's own policies allow is its
// own to decide.
var everything = policy.Compile(policy.Source{Name: "everything", Document: &policy.Document{
	Kind: policy.Identity, Version: policy.Version2012,
	Statements: []policy.Statement{{
		Effect: policy.Allow, Actions: []policy.Pattern{{{Kind: policy.Run}}}, Resources: []policy.ARNPattern{{All: true}},
	}},
}})

// principalOf gives somebody that a caller stands for.
func (who caller) principalOf(account string) policy.Principal {
	if who.anonymous {
		return policy.Principal{Type: policy.Anonymous}
	}
	p := policy.Principal{Type: policy.Role, Account: account, Issuer: "arn:aws:iam::" + account + ":role/any"}
	p.ARN = "arn:aws:sts::" + account + ":assumed-role/any/session"
	kind := ""
	if parts := strings.SplitN(who.arn, ":", 6); len(parts) == 6 {
		kind, _, _ = strings.Cut(parts[5], "/")
	}
	switch kind {
	case "user":
		return policy.Principal{Type: policy.User, Account: account, ARN: who.arn}
	case "role":
		p.Issuer = who.arn
		p.ARN = "arn:aws:sts::" + account + ":assumed-role/" + who.arn[strings.LastIndexByte(who.arn, '/')+1:] + "/session"
	case "assumed-role":
		name := strings.Split(who.arn, "/")
		p.ARN, p.Issuer = who.arn, "arn:aws:iam::"+account+":role/"+name[1]
	case "federated-user":
		return policy.Principal{Type: policy.Federated, Account: account, ARN: who.arn}
	}
	return p
}

// confirm asks the evaluator about a request, and puts it into words.
func (c *consent) confirm(who caller, g guard, x *consented) (Finding, bool) {
	w := &confirmed{tenant: x.stand.name, context: x.context()}
	id := who.account
	if values := w.context["aws:principalaccount"]; id == "" && len(values) == 1 {
		id = values[0]
	}
	w.request = policy.Request{
		Action: x.action, Resource: concrete(x.resource, nil), ResourceAccount: c.account.ID, Principal: who.principalOf(id), Context: w.made(),
	}
	l := &policy.Layers{Identity: everything, Resource: compile([]Policy{*c.object.policy}), TrustOnly: c.object.trust}
	for _, level := range c.account.RCPs {
		l.RCPs = append(l.RCPs, policy.Level{Name: level.Name, Set: compile(level.Policies)})
	}
	if !who.anonymous {
		for _, level := range g.of.SCPs {
			l.SCPs = append(l.SCPs, policy.Level{Name: level.Name, Set: compile(level.Policies)})
		}
	}
	e := policy.Explain(&w.request, l)
	if e.Verdict != policy.Allowed {
		return Finding{}, false
	}
	f := Finding{Result: Violated, Code: codeForeign, Tenant: c.nameOf(who), Policy: c.object.policy.Name, Statement: -1, grounds: c.grounds()}
	for _, s := range e.Statements {
		if s.Layer == policy.LayerResource {
			f.Statement, f.SID = s.Index, s.SID
		}
	}
	what := "the policy"
	if c.object.trust {
		what = "the trust policy"
		f.Path = []Step{{From: w.request.Principal.ARN, To: c.object.arn, By: x.action}}
	}
	f.Message = fmt.Sprintf("%s can %s of tenant %s because statement %d of %s of %s lets in %s, and no share covers it",
		c.describe(who), verb(x.action)+" "+w.request.Resource, c.account.Slug, f.Statement+1, what, c.object.arn, c.describe(who))
	with := "TENANT"
	if slug := c.slugOf(who.account); slug != "" {
		with = slug
	}
	f.Remedy = fmt.Sprintf("Take the principal out, or have the owner share it first: carrel share create --resource '%s' --with %s --reason …", c.object.arn, with)
	if who.account == "" {
		f.Code = codePublic
		f.Remedy = fmt.Sprintf("Name the accounts to let in in place of everybody, and have the owner share it with each first: carrel share create --resource '%s' --with %s --reason …", c.object.arn, with)
	}
	f.Witness = &Witness{Tenant: w.tenant, Owner: c.account.Slug, Principal: w.request.Principal.ARN, Action: x.action, Resource: w.request.Resource, Context: plain(w.context)}
	return f, true
}

// providers finds trust in identity providers of other accounts.
func (c *consent) providers() Report {
	out := Report{Result: Proved}
	c.each(func(i int, s *policy.Statement) {
		for _, name := range s.Principals.Federated {
			if id := accountOf(name); id != "" && c.foreign(id, c.account) {
				out.add(Finding{
					Result: Violated, Code: codeForeign, Tenant: c.nameOf(caller{account: id}), Policy: c.object.policy.Name, Statement: i, SID: s.SID, grounds: c.grounds(),
					Message: fmt.Sprintf("whoever controls the identity provider %s of another account can take on %s of tenant %s", name, c.object.arn, c.account.Slug),
					Remedy:  "Register the provider in the account itself.",
					Path:    []Step{{From: name, To: c.object.arn, By: "sts:AssumeRoleWithWebIdentity"}},
				})
			}
		}
	})
	return out
}

// each goes through the statements that let somebody in.
func (c *consent) each(do func(int, *policy.Statement)) {
	for i := range c.object.policy.Document.Statements {
		if s := &c.object.policy.Document.Statements[i]; s.Effect == policy.Allow && s.Principals != nil {
			do(i, s)
		}
	}
}

// warnings names the pitfalls of policies that name services and providers.
func (c *consent) warnings() []Finding {
	var out []Finding
	warn := func(code string, i int, message, remedy string) {
		f := Finding{Code: code, Tenant: c.account.Slug, Policy: c.object.policy.Name, Statement: i, Message: message, Remedy: remedy}
		f.name()
		out = append(out, f)
	}
	c.each(func(i int, s *policy.Statement) {
		if len(s.Principals.Service) > 0 && !c.object.trust && !binds(s, "aws:sourceaccount", "aws:sourcearn") {
			warn(codeDeputy, i, fmt.Sprintf("statement %d of the policy of %s lets in the service %s on behalf of any account", i+1, c.object.arn, s.Principals.Service[0]),
				"Add a condition on aws:SourceAccount or aws:SourceArn.")
		}
		if len(s.Principals.Federated) > 0 && !bindsSubject(s) {
			warn(codeFederated, i, fmt.Sprintf("statement %d of the trust policy of %s lets in whoever has any token of %s", i+1, c.object.arn, s.Principals.Federated[0]),
				"Add conditions on the token's aud and sub.")
		}
	})
	return out
}

// binds tells whether a statement has a condition on one of some keys.
func binds(s *policy.Statement, keys ...string) bool {
	for i := range s.Conditions {
		for _, key := range keys {
			if s.Conditions[i].Key == key {
				return true
			}
		}
	}
	return false
}

func bindsSubject(s *policy.Statement) bool {
	for i := range s.Conditions {
		if strings.HasSuffix(s.Conditions[i].Key, ":sub") {
			return true
		}
	}
	return false
}
