package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
)

// gated is two tenants and what the tests of the gate do with them.
type gated struct {
	t                      *testing.T
	s                      *Service
	operator, acme, globex who
}

func gatedWorld(t *testing.T) *gated {
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	g := &gated{t, s, operator, operator.tenant("acme"), operator.tenant("globex")}
	g.acme.user(dev)
	return g
}

// dev is a user of acme that may do nothing so far.
const dev = "dev"

var (
	readsAll   = statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*"`)
	readsOwn   = statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${tenant_id}/*"`)
	readsMore  = statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${tenant_id}*"`)
	onlyOwn    = statement(`"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::shared/${tenant_id}/*"`)
	ownByGuard = statement(`"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::shared/${tenant_id}/*"`)
)

func (o who) putUserPolicy(user, name, text string) error {
	return o.s.PutUserPolicy(ctx, o.identity(ActionPutUserPolicy, sortUser, user), InlineInput{user, name, text})
}

func (o who) putRolePolicy(role, name, text string) error {
	return o.s.PutRolePolicy(ctx, o.identity(ActionPutRolePolicy, sortRole, role), InlineInput{role, name, text})
}

func (o who) group(name string) {
	o.t.Helper()
	_, err := o.s.CreateGroup(ctx, o.fresh(ActionCreateGroup, sortGroup, name), "/", name)
	must(o.t, err)
}

func (o who) managed(name, text string) string {
	o.t.Helper()
	r, err := o.s.CreatePolicy(ctx, o.fresh(ActionCreatePolicy, sortPolicy, name), CreatePolicyInput{Name: name, Path: "/", Text: text})
	must(o.t, err)
	return r.ARN
}

func (g *gated) layout(name, pattern string) error {
	_, err := g.s.PutLayout(ctx, g.operator.on(ActionPutLayout, g.s.OwnResource(g.operator.account, "layout/"+name)), PutLayoutInput{name, pattern})
	return err
}

func (g *gated) trust(role, text string) error {
	return g.s.UpdateAssumeRolePolicy(ctx, g.acme.identity(ActionUpdateAssumeRolePolicy, sortRole, role), role, text)
}

func (g *gated) allowCall(id, principal string) error {
	_, err := g.s.AddPermission(ctx, g.acme.may(ActionAddPermission, "f"), PermissionInput{
		Name: "f", StatementID: id, Action: iam.InvokeAction, Principal: principal,
	})
	return err
}

// refusedWrite is a write that the gate refuses after a preparation that it
// lets through, and a harmless twin that it lets through.
type refusedWrite struct {
	prepare, attack, twin func(g *gated) error
	says                  string
}

// TestGateRefuses has every kind of write open a way to another tenant's
// things, and the same kind of write do no harm.
func TestGateRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range refusedWrites() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gatedWorld(t)
			if c.prepare != nil {
				must(t, c.prepare(g))
			}
			text := wants(t, c.attack(g), fault.Denied, CodeIsolationViolation)
			if !strings.Contains(text, c.says) {
				t.Errorf("it does not say %q: %s", c.says, text)
			}
			if err := c.twin(g); err != nil {
				t.Errorf("the harmless twin: %v", err)
			}
		})
	}
}

func refusedWrites() map[string]refusedWrite {
	all := map[string]refusedWrite{}
	for _, part := range []map[string]refusedWrite{policyWrites(), removals(), guardrailWrites(), consentWrites(), endTenantWrites()} {
		for name, c := range part {
			all[name] = c
		}
	}
	return all
}

func policyWrites() map[string]refusedWrite {
	user := func(text string) func(*gated) error {
		return func(g *gated) error { return g.acme.putUserPolicy(dev, "data", text) }
	}
	shared := func(text string) func(*gated) error {
		return func(g *gated) error { _, err := g.operator.putPolicy("data", text); return err }
	}
	group := func(text string) func(*gated) error {
		return func(g *gated) error {
			return g.s.PutGroupPolicy(ctx, g.acme.identity(ActionPutGroupPolicy, sortGroup, "devs"), InlineInput{"devs", "data", text})
		}
	}
	join := func(g *gated, name string) error {
		g.acme.group(name)
		return g.s.AddUserToGroup(ctx, g.acme.identity(ActionAddUserToGroup, sortGroup, name), name, dev)
	}
	return map[string]refusedWrite{
		"inline policy of a user":            {nil, user(readsMore), user(readsOwn), "put a / before the star"},
		"inline policy of a role":            {nil, func(g *gated) error { return g.acme.putRolePolicy(FunctionRole, "data", readsAll) }, func(g *gated) error { return g.acme.putRolePolicy(FunctionRole, "data", readsOwn) }, "s3:::shared/"},
		"managed policy for every tenant":    {nil, shared(readsMore), shared(readsOwn), "tenant <any> can read arn:aws:s3:::shared/<tenant>"},
		"new text of an attached policy":     {shared(readsOwn), shared(readsAll), shared(onlyOwn), "s3:::shared/"},
		"policy of a group that has members": {func(g *gated) error { return join(g, "devs") }, group(readsAll), group(readsOwn), "group/devs/data"},
		"joining a group": {
			func(g *gated) error { g.acme.group("devs"); return group(readsAll)(g) },
			func(g *gated) error {
				return g.s.AddUserToGroup(ctx, g.acme.identity(ActionAddUserToGroup, sortGroup, "devs"), "devs", dev)
			},
			func(g *gated) error { return join(g, "others") }, "group/devs/data",
		},
		"default version of a policy": {
			func(g *gated) error {
				arn := g.acme.managed("data", readsOwn)
				must(g.t, g.s.AttachUserPolicy(ctx, g.acme.identity(ActionAttachUserPolicy, sortUser, dev), dev, arn))
				_, err := g.s.CreatePolicyVersion(ctx, g.acme.on(ActionCreatePolicyVersion, arn), CreateVersionInput{ARN: arn, Text: readsAll})
				return err
			},
			func(g *gated) error { return g.setDefault("data", "v2") },
			func(g *gated) error { return g.setDefault("data", "v1") }, "policy/data",
		},
		"attaching a policy": {
			func(g *gated) error { g.acme.managed("data", readsAll); g.acme.managed("own", readsOwn); return nil },
			func(g *gated) error { return g.acme.attachUser("data") },
			func(g *gated) error { return g.acme.attachUser("own") }, "policy/data",
		},
		"tags of a user": {
			func(g *gated) error {
				must(g.t, g.tagUser("acme"))
				return g.acme.putUserPolicy(dev, "team", statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${aws:PrincipalTag/team}/*"`))
			},
			func(g *gated) error { return g.tagUser("globex") },
			func(g *gated) error { return g.tagUser("acme") }, "team",
		},
	}
}

func removals() map[string]refusedWrite {
	denied := func(g *gated) error {
		must(g.t, g.acme.putUserPolicy(dev, "deny", onlyOwn))
		return g.acme.putUserPolicy(dev, "data", readsAll)
	}
	deleteInline := func(name string) func(*gated) error {
		return func(g *gated) error {
			return g.s.DeleteUserPolicy(ctx, g.acme.identity(ActionDeleteUserPolicy, sortUser, dev), dev, name)
		}
	}
	return map[string]refusedWrite{
		"deleting an inline deny": {denied, deleteInline("deny"), deleteInline("data"), "s3:::shared/"},
		"detaching a deny": {
			func(g *gated) error {
				g.acme.managed("deny", onlyOwn)
				must(g.t, g.acme.attachUser("deny"))
				return g.acme.putUserPolicy(dev, "data", readsAll)
			},
			func(g *gated) error { return g.acme.detachUser("deny") }, deleteInline("data"), "s3:::shared/",
		},
		"leaving a group that denies": {
			func(g *gated) error {
				g.acme.group("safe")
				must(g.t, g.s.PutGroupPolicy(ctx, g.acme.identity(ActionPutGroupPolicy, sortGroup, "safe"), InlineInput{"safe", "deny", onlyOwn}))
				must(g.t, g.s.AddUserToGroup(ctx, g.acme.identity(ActionAddUserToGroup, sortGroup, "safe"), "safe", dev))
				return g.acme.putUserPolicy(dev, "data", readsAll)
			},
			func(g *gated) error {
				return g.s.RemoveUserFromGroup(ctx, g.acme.identity(ActionRemoveUserFromGroup, sortGroup, "safe"), "safe", dev)
			},
			deleteInline("data"), "s3:::shared/",
		},
		"deleting a boundary": {
			func(g *gated) error {
				arn := g.acme.managed("bound", readsOwn)
				must(g.t, g.s.PutUserPermissionsBoundary(ctx, g.acme.identity(ActionPutUserBoundary, sortUser, dev), dev, arn))
				return g.acme.putUserPolicy(dev, "data", readsAll)
			},
			func(g *gated) error {
				return g.s.DeleteUserPermissionsBoundary(ctx, g.acme.identity(ActionDeleteUserBoundary, sortUser, dev), dev)
			},
			deleteInline("data"), "s3:::shared/",
		},
	}
}

func guardrailWrites() map[string]refusedWrite {
	guarded := func(g *gated, target string) {
		_, err := g.operator.putPolicy("own", ownByGuard)
		must(g.t, err)
		must(g.t, g.operator.attach("own", target, policy.SCP))
		must(g.t, g.acme.putUserPolicy(dev, "data", readsAll))
	}
	doorIf := func(g *gated, condition string) {
		g.acme.makeRole("door", statement(`"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"`+condition))
	}
	return map[string]refusedWrite{
		"detaching an SCP": {
			func(g *gated) error { guarded(g, "acme"); return nil },
			func(g *gated) error { return g.operator.detach("own", "acme", policy.SCP) },
			func(g *gated) error { return g.operator.detach("FullAWSAccess", "acme", policy.SCP) }, "s3:::shared/",
		},
		"moving an account out of a unit": {
			func(g *gated) error {
				g.operator.unit("emea", "")
				must(g.t, g.operator.move("acme", "emea"))
				guarded(g, "emea")
				return nil
			},
			func(g *gated) error { return g.operator.move("acme", "root") },
			func(g *gated) error { return g.operator.move("globex", "emea") }, "s3:::shared/",
		},
		"detaching an RCP": {
			func(g *gated) error {
				_, err := g.operator.putPolicy("perimeter", statement(`"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"`+string(g.acme.account)+`"}}`))
				must(g.t, err)
				must(g.t, g.operator.attach("perimeter", "acme", policy.RCP))
				must(g.t, g.operator.attach("perimeter", "root", policy.RCP))
				doorIf(g, "")
				return g.operator.detach("perimeter", "root", policy.RCP)
			},
			func(g *gated) error { return g.operator.detach("perimeter", "acme", policy.RCP) },
			func(g *gated) error { return g.operator.attach("perimeter", "root", policy.RCP) }, "role/door",
		},
		"new tenant under weaker guardrails": {
			func(g *gated) error {
				g.operator.unit("strict", "")
				_, err := g.operator.putPolicy("home", statement(`"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"arn:aws:iam::`+string(g.acme.account)+`:role/door"`))
				must(g.t, err)
				must(g.t, g.operator.attach("home", "strict", policy.SCP))
				must(g.t, g.operator.move("acme", "strict"))
				must(g.t, g.operator.move("globex", "strict"))
				doorIf(g, "")
				return nil
			},
			func(g *gated) error {
				_, err := g.operator.createTenant(CreateTenantInput{Slug: "initech"})
				return err
			},
			func(g *gated) error {
				_, err := g.operator.createTenant(CreateTenantInput{Slug: "initrode", Parent: "globex"})
				return err
			}, "role/door",
		},
		"layout": {
			func(g *gated) error {
				return g.acme.putUserPolicy(dev, "data", statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::reports/${tenant_id}/*"`))
			},
			func(g *gated) error { return g.layout("reports", "arn:aws:s3:::reports/acme/{tenant}/*") },
			func(g *gated) error { return g.layout("reports", "arn:aws:s3:::reports/{tenant}/*") }, "reports",
		},
		"deleting a layout": {
			func(g *gated) error {
				must(g.t, g.layout("reports", "arn:aws:s3:::reports/year/{tenant}/*"))
				return g.acme.putUserPolicy(dev, "data", statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::reports/year/${tenant_id}/*"`))
			},
			func(g *gated) error {
				return g.s.DeleteLayout(ctx, g.operator.on(ActionDeleteLayout, g.s.OwnResource(g.operator.account, "layout/reports")), "reports")
			},
			func(g *gated) error { return g.layout("sales", "arn:aws:s3:::sales/{tenant}/*") }, "reports",
		},
	}
}

func consentWrites() map[string]refusedWrite {
	of := func(o who) string { return `{"AWS":"` + string(o.account) + `"}` }
	trusts := func(principal string) string {
		return statement(`"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"`)
	}
	function := func(g *gated) error { g.acme.active(g.acme.input("f", "one")); return nil }
	return map[string]refusedWrite{
		"trust": {nil,
			func(g *gated) error { return g.trust(FunctionRole, trusts(of(g.globex))) },
			func(g *gated) error { return g.trust(FunctionRole, trusts(of(g.acme))) }, "carrel share create --resource",
		},
		"trust of a new role": {nil,
			func(g *gated) error {
				_, err := g.s.CreateRole(ctx, g.acme.fresh(ActionCreateRole, sortRole, "door"), CreateRoleInput{Name: "door", Trust: trusts(`"*"`)})
				return err
			},
			func(g *gated) error { g.acme.makeRole("door", trusts(of(g.operator))); return nil }, "role/door",
		},
		"claims that say who the tenant is": {nil,
			func(g *gated) error { return g.provider("tenant_id") },
			func(g *gated) error { return g.provider("team") }, "from the claim org",
		},
		"policy of a function": {function,
			func(g *gated) error { return g.allowCall("a", string(g.globex.account)) },
			func(g *gated) error { return g.allowCall("a", string(g.acme.account)) }, "carrel share create --resource",
		},
		"policy of a function for everybody": {function,
			func(g *gated) error { return g.allowCall("a", "*") },
			func(g *gated) error { return g.allowCall("a", string(g.operator.account)) }, "function:f",
		},
		"ending a share that is needed": {
			func(g *gated) error {
				must(g.t, function(g))
				g.acme.shares(g.s.FunctionResource(g.acme.account, "f"), "globex")
				g.acme.shares(g.s.FunctionResource(g.acme.account, "g"), "globex")
				return g.allowCall("a", string(g.globex.account))
			},
			func(g *gated) error { return g.endShare(":function:f") },
			func(g *gated) error { return g.endShare(":function:g") }, "function:f",
		},
	}
}

// endTenantWrites are about a function that runs for end tenants.
func endTenantWrites() map[string]refusedWrite {
	shop := func(g *gated, role string) error {
		in := g.acme.input("shop", "one")
		in.Tenancy, in.Role = function.PerTenant, roleARN(g.acme.account, role)
		in.PassRole = g.acme.pass(in.Role)
		_, err := g.s.CreateFunction(ctx, g.acme.may(ActionCreateFunction, in.Name), in)
		return err
	}
	prepare := func(g *gated) error {
		must(g.t, g.layout("data", "arn:aws:s3:::shared/{tenant}/*"))
		g.acme.makeRole("reader", trustOf(LambdaService))
		return nil
	}
	// What the operators share out is the accounts': an end tenant that is named
	// like another account's tenant would read what is that one's.
	byName := readsOwn
	byAccount := statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/${carrel:AccountTenant}/*"`)
	return map[string]refusedWrite{
		"function for end tenants": {
			func(g *gated) error { must(g.t, prepare(g)); return g.acme.putRolePolicy("reader", "data", byName) },
			func(g *gated) error { return shop(g, "reader") },
			func(g *gated) error { return shop(g, FunctionRole) }, "end tenant",
		},
		"role of a function for end tenants": {
			func(g *gated) error {
				must(g.t, prepare(g))
				must(g.t, g.acme.putRolePolicy("reader", "data", byName))
				in := g.acme.input("shop", "one")
				in.Tenancy = function.PerTenant
				g.acme.active(in)
				return nil
			},
			func(g *gated) error { return g.setRole("shop", "reader") },
			func(g *gated) error { return g.setRole("shop", FunctionRole) }, "end tenant",
		},
		"gatekeeper mark": {
			func(g *gated) error {
				must(g.t, prepare(g))
				must(g.t, g.acme.putRolePolicy("reader", "data", byAccount))
				in := g.acme.input("worker", "one")
				in.Role = roleARN(g.acme.account, "reader")
				in.PassRole = g.acme.pass(in.Role)
				g.acme.active(in)
				must(g.t, g.acme.putRolePolicy(FunctionRole, "call", statement(`"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"`+g.s.FunctionResource(g.acme.account, "worker")+`"`)))
				return shop(g, FunctionRole)
			},
			func(g *gated) error { return g.mark("reader") },
			func(g *gated) error { return g.mark(FunctionRole) }, "gatekeeper",
		},
	}
}

// provider writes a record that the API would not take.
func (g *gated) provider(tag string) error {
	a, _ := g.s.ix.accounts.get(g.acme.account)
	arn := "arn:aws:iam::" + string(a.Account) + ":oidc-provider/idp.example"
	k, err := g.s.hide(providerFamily, a.UID, arn)
	must(g.t, err)
	return g.s.commit(ctx, write{key: k, record: directory.Provider{
		Account: a.Account, ARN: arn, URL: "https://idp.example", ClientIDs: []string{"x"}, ClaimTags: map[string]string{"org": tag},
	}})
}

func (g *gated) mark(role string) error {
	return g.s.MarkGatekeeper(ctx, g.operator.on(ActionMarkGatekeeper, g.s.GatekeeperResource("acme", role)), GatekeeperInput{"acme", role, "it checks"})
}

func (g *gated) setRole(name function.Name, role string) error {
	arn := roleARN(g.acme.account, role)
	_, err := g.s.UpdateFunctionConfiguration(ctx, g.acme.may(ActionUpdateConfig, name), UpdateConfigurationInput{
		Name: name, Role: &arn, PassRole: g.acme.pass(arn),
	})
	return err
}

func (g *gated) endShare(of string) error {
	for id, r := range g.s.ix.org.Load().Shares {
		if strings.HasSuffix(r.Record.Resource, of) {
			return g.s.DeleteShare(ctx, g.acme.on(ActionDeleteShare, g.s.OwnResource(g.acme.account, "share/"+id)), id)
		}
	}
	return fmt.Errorf("there is no share of %s", of)
}

func (g *gated) setDefault(name, version string) error {
	arn := NewIdentityResource(g.acme.account, sortPolicy, "/", name)
	return g.s.SetDefaultPolicyVersion(ctx, g.acme.on(ActionSetDefaultPolicyVersion, arn), arn, version)
}

func (g *gated) tagUser(team string) error {
	return g.s.TagUser(ctx, g.acme.identity(ActionTagUser, sortUser, dev), dev, []call.Tag{{Key: "team", Value: team}})
}

func (o who) attachUser(name string) error {
	return o.s.AttachUserPolicy(ctx, o.identity(ActionAttachUserPolicy, sortUser, dev), dev, NewIdentityResource(o.account, sortPolicy, "/", name))
}

func (o who) detachUser(name string) error {
	return o.s.DetachUserPolicy(ctx, o.identity(ActionDetachUserPolicy, sortUser, dev), dev, NewIdentityResource(o.account, sortPolicy, "/", name))
}
