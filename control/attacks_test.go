package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// runsAs lists what can be run with a role: the code and the environment of
// every version and alias that has it.
func (o who) runsAs(role string) []string {
	var all []string
	for _, name := range o.s.ix.functionNames(o.account) {
		d, _ := o.s.ix.functions.get(functionName{o.account, name})
		qualifiers := append(d.numbers(), "")
		for alias := range d.aliases {
			qualifiers = append(qualifiers, alias)
		}
		for _, q := range qualifiers {
			for _, roll := range []uint64{0, 1 << 63, 1<<64 - 1} { // on both sides of an alias's weights
				target, err := o.s.Resolve(o.account, name, q, roll)
				if err != nil || target.Role != role {
					continue
				}
				environment := slices.DeleteFunc(slices.Clone(target.Environment), func(v string) bool {
					return strings.HasPrefix(v, "AWS_LAMBDA_FUNCTION_VERSION=") // it names what is there
				})
				slices.Sort(environment)
				all = append(all, fmt.Sprint(target.Artifact, environment, target.Limits))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestNothingNewRunsAsARoleThatMayNotBePassed (A22) has a developer, who may do
// everything with functions and pass the role fn only, try every write there is
// on a function that runs with the role boss: nothing runs with that role
// afterwards that did not before.
func TestNothingNewRunsAsARoleThatMayNotBePassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rate = 1000
	s := w.open()
	acme := w.operator(s).tenant("acme")
	boss := acme.makeRole("boss", trustOf(LambdaService))
	in := acme.input("f", "one")
	in.Role, in.PassRole = boss.ARN, acme.pass(boss.ARN)
	acme.active(in)
	acme.publish("f")
	_, err := acme.code(UpdateCodeInput{Name: "f", Package: module("two")})
	acme.must(err)
	acme.ready("f")
	acme.publish("f")
	acme.alias("f", "live", "1")
	_, k := acme.user("dev")
	acme.must(s.AttachUserPolicy(ctx, acme.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", directory.TenantDeveloper))
	dev := as(t, s, k.ID)
	pass := dev.pass(dev.role())

	timeout, one, two := 9, "1", "2"
	retries := 1
	writes := map[string]func() error{
		"CreateFunction": func() error {
			in := dev.input("g", "evil")
			in.Role, in.Publish = boss.ARN, true
			_, err := s.CreateFunction(ctx, dev.may(ActionCreateFunction, "g"), in)
			return err
		},
		"UpdateFunctionCode": func() error {
			_, err := s.UpdateFunctionCode(ctx, dev.may(ActionUpdateCode, "f"), UpdateCodeInput{Name: "f", Package: module("evil"), Publish: true, PassRole: pass})
			return err
		},
		"UpdateFunctionConfiguration": func() error {
			_, err := s.UpdateFunctionConfiguration(ctx, dev.may(ActionUpdateConfig, "f"), UpdateConfigurationInput{
				Name: "f", TimeoutSec: &timeout, Environment: map[string]string{"EVIL": "1"}, PassRole: pass})
			return err
		},
		"PublishVersion": func() error {
			_, err := s.PublishVersion(ctx, dev.may(ActionPublishVersion, "f"), PublishInput{Name: "f"})
			return err
		},
		"CreateAlias": func() error {
			_, err := s.CreateAlias(ctx, dev.may(ActionCreateAlias, "f"), AliasInput{Name: "f", Alias: "evil", Version: &two, Weights: map[string]float64{"1": 0.5}})
			return err
		},
		"UpdateAlias": func() error {
			_, err := s.UpdateAlias(ctx, dev.may(ActionUpdateAlias, "f"), AliasInput{Name: "f", Alias: "live", Version: &one, Weights: map[string]float64{"2": 0.5}})
			return err
		},
		"DeleteAlias": func() error { return s.DeleteAlias(ctx, dev.may(ActionDeleteAlias, "f"), "f", "evil") },
		"PutConcurrency": func() error {
			return s.PutConcurrency(ctx, dev.may(ActionPutConcurrency, "f"), "f", 1)
		},
		"DeleteConcurrency": func() error { return s.DeleteConcurrency(ctx, dev.may(ActionDeleteConcurrency, "f"), "f") },
		"PutRecursion":      func() error { return s.PutRecursion(ctx, dev.may(ActionPutRecursion, "f"), "f", "Allow") },
		"TagResource": func() error {
			return s.TagResource(ctx, dev.may(ActionTagResource, "f"), "f", map[string]string{"team": "evil"})
		},
		"UntagResource": func() error { return s.UntagResource(ctx, dev.may(ActionUntagResource, "f"), "f", []string{"team"}) },
		"PutEventConfig": func() error {
			_, err := s.PutEventConfig(ctx, dev.may(ActionPutEventConfig, "f"), "f", function.EventConfig{Qualifier: "live", MaximumRetries: &retries})
			return err
		},
		"UpdateEventConfig": func() error {
			_, err := s.UpdateEventConfig(ctx, dev.may(ActionUpdateEventConfig, "f"), "f", function.EventConfig{Qualifier: "live", MaximumRetries: &retries})
			return err
		},
		"DeleteEventConfig": func() error {
			return s.DeleteEventConfig(ctx, dev.may(ActionDeleteEventConfig, "f"), "f", "live")
		},
		"CreateURL": func() error {
			_, err := s.CreateURL(ctx, dev.may(ActionCreateURL, "f"), URLInput{Name: "f", Auth: "NONE"})
			return err
		},
		"UpdateURL": func() error {
			_, err := s.UpdateURL(ctx, dev.may(ActionUpdateURL, "f"), URLInput{Name: "f", Auth: "AWS_IAM"})
			return err
		},
		"DeleteURL":        func() error { return s.DeleteURL(ctx, dev.may(ActionDeleteURL, "f"), "f", "") },
		"AddPermission":    nil, // not a developer's: see TestDefaultRolesMayWhatTheyAreFor
		"RemovePermission": nil,
		"DeleteFunction":   nil, // ends the test; nothing that is gone runs
	}
	for name, actions := range guarded {
		_, listed := writes[name]
		changes := strings.HasPrefix(actions[0], "lambda:") && !strings.HasPrefix(actions[0], "lambda:Get") && !strings.HasPrefix(actions[0], "lambda:List")
		if changes && !listed && actions[0] != iam.InvokeAction {
			t.Errorf("%s is not in the table of this test", name)
		}
	}
	before := acme.runsAs(boss.ARN)
	if len(before) != 2 {
		t.Fatalf("with the role run %q", before)
	}
	refused := 0
	for name, act := range writes {
		if act == nil {
			continue
		}
		if fault.Is(act(), fault.Denied) {
			refused++
		}
		acme.ready("f")
		if after := acme.runsAs(boss.ARN); !slices.Equal(after, before) {
			t.Errorf("after %s with the role run %q, before %q", name, after, before)
		}
	}
	if refused != 3 {
		t.Errorf("%d writes were refused, want those of new functions, code and configuration", refused)
	}
	// The control: who may pass the role on has other code run with it.
	_, err = acme.code(UpdateCodeInput{Name: "f", Package: module("three")})
	acme.must(err)
	acme.ready("f")
	if slices.Equal(acme.runsAs(boss.ARN), before) {
		t.Error("the control: new code of who may pass the role on does not run with it")
	}
}

// TestWhoHasTheNameOfOneThatWasGivenAnotherInheritsNothing (A06): a user that
// gets another name keeps its key, groups and policies, and who gets the old
// name has none of them, nor the trust and permissions that were given to it.
func TestWhoHasTheNameOfOneThatWasGivenAnotherInheritsNothing(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	u, k := acme.user("dev")
	_, err := s.CreateGroup(ctx, acme.fresh(ActionCreateGroup, sortGroup, "devs"), "", "devs")
	acme.must(err)
	acme.must(s.AddUserToGroup(ctx, acme.identity(ActionAddUserToGroup, sortGroup, "devs"), "devs", "dev"))
	acme.must(s.AttachGroupPolicy(ctx, acme.identity(ActionAttachGroupPolicy, sortGroup, "devs"), "devs", directory.AdministratorAccess))
	role := acme.makeRole("ops", trusting(u.ARN, ""))
	before := as(t, s, k.ID)
	session, err := before.sessionToken(0)
	acme.must(err)
	if _, err := before.assume(AssumeRoleInput{RoleARN: role.ARN}); err != nil {
		t.Fatalf("the control: %v", err)
	}
	acme.must(s.UpdateUser(ctx, acme.identity(ActionUpdateUser, sortUser, "dev"), UpdateUserInput{
		Name: "dev", NewName: "ann", Target: acme.fresh(ActionUpdateUser, sortUser, "ann"),
	}))
	_, k2 := acme.user("dev")
	second, list := as(t, s, k2.ID), s.AccountResource(acme.account)
	if second.allowed(ActionListFunctions, list) {
		t.Error("who got the name has what its former holder's group allows")
	}
	if _, err := second.assume(AssumeRoleInput{RoleARN: role.ARN}); !fault.Is(err, fault.Denied) {
		t.Errorf("who got the name is trusted as its former holder: %v", err)
	}
	if ann := as(t, s, k.ID); ann.me.ARN != userARN(acme.account, "ann") || !ann.allowed(ActionListFunctions, list) {
		t.Errorf("the user lost its key or group with its name: %+v", ann.me)
	}
	// Credentials say who their holder was; they are not good for the new one.
	if p, found := s.Session(session.SessionToken); found {
		if _, known := s.Subject(p.Holder); known {
			t.Error("a session of the old name is good, and looks like one of who has the name now")
		}
	}
}

// TestARoleMadeAnewIsAnother (A06): real sessions of a role and of what came
// of them end with the role, and its mark as a gatekeeper is not the next one's.
func TestARoleMadeAnewIsAnother(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	operator := as(t, s, s.FirstAdmin().AccessKeyID)
	arn, list := acme.free("app"), s.AccountResource(acme.account)
	operator.must(s.MarkGatekeeper(ctx, operator.on(ActionMarkGatekeeper, s.GatekeeperResource("acme", "app")), GatekeeperInput{Tenant: "acme", Role: "app", Reason: "test"}))
	session := acme.assumed(AssumeRoleInput{RoleARN: arn})
	other := acme.free("other")
	derived := session.assumed(AssumeRoleInput{RoleARN: other})
	if !session.allowed(ActionListFunctions, list) {
		t.Fatal("the control: the session may do nothing")
	}
	acme.must(s.DeleteRolePolicy(ctx, acme.identity(ActionDeleteRolePolicy, sortRole, "app"), "app", "all"))
	acme.deleteRole("app")
	acme.free("app")
	if session.allowed(ActionListFunctions, list) {
		t.Error("a session of a deleted role is good for another of its name")
	}
	if _, err := session.assume(AssumeRoleInput{RoleARN: other}); !fault.Is(err, fault.Denied) {
		t.Errorf("a session of a deleted role makes others: %v", err)
	}
	if !derived.allowed(ActionListFunctions, list) {
		t.Error("the twin: a session of a role that is there ended with another role")
	}
	again := acme.assumed(AssumeRoleInput{RoleARN: arn})
	if !again.allowed(ActionListFunctions, list) {
		t.Error("the twin: a session of the new role may do nothing")
	}
	if subject, found := s.Subject(&again.me); !found || subject.Gatekeeper {
		t.Errorf("the new role has the mark of the old one: %v", found)
	}
}

// TestNobodySetsTheTenantTag tries to set the platform's own tag wherever tags
// can be set, in spellings that some comparison might take for it. What is not
// refused changes nothing of whose tenant anybody is.
func TestNobodySetsTheTenantTag(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	role := acme.free("app")
	_, k := acme.user("dev")
	pooled := statement(`"Effect":"Allow","Action":"lambda:GetFunction","Resource":"arn:aws:lambda:*:*:function:${aws:PrincipalTag/tenant_id}","Condition":{"StringEquals":{"tenant_id":"${aws:PrincipalTag/tenant_id}"}}`)
	acme.must(s.PutUserPolicy(ctx, acme.identity(ActionPutUserPolicy, sortUser, "dev"), InlineInput{"dev", "own", pooled}))
	bounded := acme.makeRole("bounded", trusting("arn:aws:iam::"+string(acme.account)+":root", ""))
	acme.must(s.PutRolePolicy(ctx, acme.identity(ActionPutRolePolicy, sortRole, "bounded"), InlineInput{"bounded", "own", pooled}))
	own, err := s.CreatePolicy(ctx, acme.fresh(ActionCreatePolicy, sortPolicy, "own"), CreatePolicyInput{Name: "own", Text: pooled})
	acme.must(err)
	provider, err := s.CreateOpenIDConnectProvider(ctx, acme.on(ActionCreateProvider, ProviderResource(acme.account, "https://idp.example")), CreateProviderInput{URL: "https://idp.example", ClientIDs: []string{"c"}})
	acme.must(err)
	acme.active(acme.input("f", "f"))

	n := 0
	for what, set := range map[string]func(call.Tag) error{
		"a new user": func(tag call.Tag) error {
			n++
			name := fmt.Sprintf("u%d", n)
			_, err := s.CreateUser(ctx, acme.fresh(ActionCreateUser, sortUser, name), CreateUserInput{Name: name, Tags: []call.Tag{tag}})
			return err
		},
		"a user": func(tag call.Tag) error {
			return s.TagUser(ctx, acme.identity(ActionTagUser, sortUser, "dev"), "dev", []call.Tag{tag})
		},
		"a new role": func(tag call.Tag) error {
			n++
			name := fmt.Sprintf("r%d", n)
			_, err := s.CreateRole(ctx, acme.fresh(ActionCreateRole, sortRole, name), CreateRoleInput{Name: name, Trust: trustOf(LambdaService), Tags: []call.Tag{tag}})
			return err
		},
		"a role": func(tag call.Tag) error {
			return s.TagRole(ctx, acme.identity(ActionTagRole, sortRole, "bounded"), "bounded", []call.Tag{tag})
		},
		"a new policy": func(tag call.Tag) error {
			n++
			name := fmt.Sprintf("p%d", n)
			_, err := s.CreatePolicy(ctx, acme.fresh(ActionCreatePolicy, sortPolicy, name), CreatePolicyInput{Name: name, Text: pooled, Tags: []call.Tag{tag}})
			return err
		},
		"a policy": func(tag call.Tag) error {
			return s.TagPolicy(ctx, acme.on(ActionTagPolicy, own.ARN), own.ARN, []call.Tag{tag})
		},
		"a provider": func(tag call.Tag) error {
			return s.TagOpenIDConnectProvider(ctx, acme.on(ActionTagProvider, provider.ARN), provider.ARN, []call.Tag{tag})
		},
		"a claim": func(tag call.Tag) error {
			return s.PutProviderClaimTags(ctx, acme.on(ActionPutProviderClaimTags, provider.ARN), provider.ARN, map[string]string{"org": tag.Key})
		},
		"a function": func(tag call.Tag) error {
			return s.TagResource(ctx, acme.may(ActionTagResource, "f"), "f", map[string]string{tag.Key: tag.Value})
		},
		"a session of a role": func(tag call.Tag) error {
			_, err := acme.assume(AssumeRoleInput{RoleARN: role, SessionBounds: SessionBounds{Tags: []call.Tag{tag}}})
			return err
		},
		"a transitive tag": func(tag call.Tag) error {
			_, err := acme.assume(AssumeRoleInput{RoleARN: role, Transitive: []string{tag.Key}, SessionBounds: SessionBounds{Tags: []call.Tag{tag}}})
			return err
		},
		"a federated user": func(tag call.Tag) error {
			_, err := acme.federate(GetFederationTokenInput{Name: "bob", SessionBounds: SessionBounds{Tags: []call.Tag{tag}}})
			return err
		},
	} {
		for _, key := range []string{"tenant_id", "Tenant_ID", "TENANT_ID", "tenant_Id", " tenant_id", "tenant_id ", "tenant_ıd", "tenant_İd", "TENANT_İD"} {
			if err := set(call.Tag{Key: key, Value: "globex"}); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s was given the tag %q: %v", what, key, err)
			}
		}
		if err := set(call.Tag{Key: "team", Value: "blue"}); err != nil {
			t.Errorf("the twin: %s is refused an ordinary tag: %v", what, err)
		}
		// Others are no spelling of it, and mean nothing.
		for _, key := range []string{"tenant-id", "tenant_id2", "xtenant_id", "ｔｅｎａｎｔ＿ｉｄ"} {
			_ = set(call.Tag{Key: key, Value: "globex"})
		}
	}
	tags := []call.Tag{{Key: "tenant-id", Value: "globex"}, {Key: "tenant_id2", Value: "globex"}}
	for name, o := range map[string]who{
		"the user": as(t, s, k.ID), "a session": acme.assumed(AssumeRoleInput{RoleARN: bounded.ARN, SessionBounds: SessionBounds{Tags: tags}}),
	} {
		if !o.allowed(ActionGetFunction, s.FunctionResource(acme.account, "acme")) {
			t.Errorf("%s is not of its tenant any more", name)
		}
		if o.allowed(ActionGetFunction, s.FunctionResource(acme.account, "globex")) {
			t.Errorf("%s passes for another tenant's", name)
		}
	}
}

// TestEndTenantNamedLikeAnotherGainsNothing gives an end tenant of acme the
// name of another account, and another one a name that begins with its
// sibling's, and asks for what those own.
func TestEndTenantNamedLikeAnotherGainsNothing(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	acme.active(acme.input("f", "f"))
	globex.active(globex.input("globex", "f"))
	uid := func(id tenant.EndTenantID) tenant.UID {
		t.Helper()
		u, err := s.EndTenant(ctx, acme.may(iam.InvokeAction, "f"), id)
		acme.must(err)
		return u
	}
	arn := acme.free("app")
	session := func(id tenant.EndTenantID) who {
		o := acme.assumed(AssumeRoleInput{RoleARN: arn})
		o.me.Session.EndTenant, o.me.Session.EndTenantUID = id, uid(id)
		return o
	}
	may := func(o who, action, resource string, owner tenant.Identity, names tenant.EndTenantID) bool {
		_, err := s.Authorise(ctx, iam.Request{Principal: o.me, Action: action, Resource: resource, Owner: owner, EndTenant: names}, "r")
		return err == nil
	}
	mine := func(id tenant.EndTenantID) tenant.Identity {
		return tenant.Identity{Account: acme.account, EndTenant: uid(id)}
	}
	bucket := func(id string) string { return "arn:aws:s3:::pool/" + id + "/k" }

	// Named like another account's tenant. The role may do everything: what
	// stands in the way is whose a thing is.
	o := session("globex")
	for name, c := range map[string]struct {
		action, resource string
		owner            tenant.Identity
		want             bool
	}{
		"the twin: its own object":      {"s3:GetObject", bucket("globex"), mine("globex"), true},
		"the account's object":          {"s3:GetObject", bucket("globex"), tenant.Identity{Account: globex.account}, false},
		"an object of its end tenant":   {"s3:GetObject", bucket("globex"), tenant.Identity{Account: globex.account, EndTenant: uid("globex")}, false},
		"the account's function":        {iam.InvokeAction, s.FunctionResource(globex.account, "globex"), tenant.Identity{Account: globex.account}, false},
		"the account's role":            {ActionAssumeRole, roleARN(globex.account, FunctionRole), tenant.Identity{Account: globex.account}, false},
		"the account under its own ARN": {ActionGetFunction, s.FunctionResource(globex.account, "globex"), tenant.Identity{Account: acme.account}, false},
	} {
		if got := may(o, c.action, c.resource, c.owner, ""); got != c.want {
			t.Errorf("an end tenant named like an account, %s: %v", name, got)
		}
	}

	// Named so that one name begins with the other.
	pool := acme.makeRole("pool", trusting("arn:aws:iam::"+string(acme.account)+":root", ""))
	acme.must(s.PutRolePolicy(ctx, acme.identity(ActionPutRolePolicy, sortRole, "pool"),
		InlineInput{"pool", "own", statement(`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::pool/${tenant_id}/*"`)}))
	arn = pool.ARN
	for _, pair := range [][2]tenant.EndTenantID{{"blue", "blue2"}, {"blue2", "blue"}, {"blue", "blue-"}, {"a", "acme"}, {"acme", "acme-2"}} {
		me, other := session(pair[0]), pair[1]
		if !may(me, "s3:GetObject", bucket(string(pair[0])), mine(pair[0]), "") {
			t.Errorf("the twin: %s does not reach its own", pair[0])
		}
		for name, owner := range map[string]tenant.Identity{"its": mine(other), "my": mine(pair[0]), "the account's": {Account: acme.account}} {
			if may(me, "s3:GetObject", bucket(string(other)), owner, "") {
				t.Errorf("%s reaches an object under the name %s, said to be %s", pair[0], other, name)
			}
		}
		if may(me, "s3:GetObject", bucket(string(pair[0])), mine(other), "") {
			t.Errorf("%s reaches what is %s's under its own name", pair[0], other)
		}
	}
}
