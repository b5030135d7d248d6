package control

import (
	"math"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// identity gives a grant for an operation of IAM on a user, group or role that
// exists.
func (o who) identity(action, sort, name string) iam.Grant {
	o.t.Helper()
	return o.on(action, o.s.IdentityResource(o.account, sort, name))
}

// fresh gives a grant for making a user, group, role or policy with the path /.
func (o who) fresh(action, sort, name string) iam.Grant {
	o.t.Helper()
	return o.on(action, NewIdentityResource(o.account, sort, "/", name))
}

func (o who) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// user makes a user, with a key.
func (o who) user(name string) (directory.User, NewKey) {
	o.t.Helper()
	u, err := o.s.CreateUser(ctx, o.fresh(ActionCreateUser, sortUser, name), CreateUserInput{Name: name})
	o.must(err)
	k, err := o.s.CreateAccessKey(ctx, o.identity(ActionCreateAccessKey, sortUser, name), name)
	o.must(err)
	return u, k
}

func (o who) makeRole(name, trust string) directory.Role {
	o.t.Helper()
	r, err := o.s.CreateRole(ctx, o.fresh(ActionCreateRole, sortRole, name), CreateRoleInput{Name: name, Trust: trust})
	o.must(err)
	return r
}

func (o who) deleteUser(name string) {
	o.t.Helper()
	keys, err := o.s.ListAccessKeys(ctx, o.identity(ActionListAccessKeys, sortUser, name), name, PageInput{})
	o.must(err)
	for _, k := range keys.Items {
		o.must(o.s.DeleteAccessKey(ctx, o.identity(ActionDeleteAccessKey, sortUser, name), UpdateKeyInput{User: name, ID: k.ID}))
	}
	o.must(o.s.DeleteUser(ctx, o.identity(ActionDeleteUser, sortUser, name), name))
}

func (o who) deleteRole(name string) {
	o.t.Helper()
	o.must(o.s.DeleteRole(ctx, o.identity(ActionDeleteRole, sortRole, name), name))
}

// sessionOf is a session of a role.
func sessionOf(r directory.Role, tags ...call.Tag) call.Principal {
	return call.Principal{
		Type: call.TypeRole, Account: r.Account, ARN: "arn:aws:sts::" + string(r.Account) + ":assumed-role/" + r.Name + "/s",
		Session: &call.Session{ID: "1", Issuer: r.ARN, IssuerUID: r.UID, Name: "s", Tags: tags},
	}
}

// decides asks the policy engine, with what the directory gives.
func (o who) decides(p call.Principal, action, resource string) policy.Verdict {
	o.t.Helper()
	subject, found := o.s.Subject(&p)
	if !found {
		return policy.ExplicitlyDenied
	}
	object := o.s.Object(directory.AccountIn(resource), resource)
	r := policy.Request{
		Action: action, Resource: resource, ResourceAccount: string(directory.AccountIn(resource)),
		Principal: policy.Principal{Type: policy.User, Account: string(p.Account), ARN: p.ARN}, Context: &policy.Context{},
	}
	if p.Session != nil && p.Type == call.TypeRole {
		r.Principal.Type, r.Principal.Issuer = policy.Role, p.Session.Issuer
	}
	return policy.Evaluate(&r, &policy.Layers{
		Identity: subject.Identity, Boundary: subject.Boundary, SCPs: subject.SCPs,
		Resource: object.Policy, TrustOnly: object.TrustOnly, RCPs: object.RCPs,
	}).Verdict
}

func TestSubjectIsWhatIsAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	f := s.FunctionResource(acme.account, "f")
	_, k := acme.user("dev")
	dev := as(t, s, k.ID)
	asks := func(want policy.Verdict, why string) {
		t.Helper()
		if got := acme.decides(dev.me, "lambda:GetFunction", f); got != want {
			t.Errorf("%s: %v, want %v", why, got, want)
		}
	}
	asks(policy.ImplicitlyDenied, "a new user")
	inline := InlineInput{Entity: "dev", Policy: "own", Text: allowAll}
	acme.must(s.PutUserPolicy(ctx, acme.identity(ActionPutUserPolicy, sortUser, "dev"), inline))
	asks(policy.Allowed, "an inline policy")
	acme.must(s.DeleteUserPolicy(ctx, acme.identity(ActionDeleteUserPolicy, sortUser, "dev"), "dev", "own"))
	asks(policy.ImplicitlyDenied, "an inline policy that is gone")

	_, err := s.CreateGroup(ctx, acme.fresh(ActionCreateGroup, sortGroup, "devs"), "", "devs")
	acme.must(err)
	acme.must(s.AddUserToGroup(ctx, acme.identity(ActionAddUserToGroup, sortGroup, "devs"), "devs", "dev"))
	acme.must(s.AttachGroupPolicy(ctx, acme.identity(ActionAttachGroupPolicy, sortGroup, "devs"), "devs", directory.AdministratorAccess))
	asks(policy.Allowed, "the policy of a group")
	own, err := s.CreatePolicy(ctx, acme.fresh(ActionCreatePolicy, sortPolicy, "limit"), CreatePolicyInput{
		Name: "limit", Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"lambda:Get*","Resource":"*"}]}`,
	})
	acme.must(err)
	acme.must(s.PutUserPermissionsBoundary(ctx, acme.identity(ActionPutUserBoundary, sortUser, "dev"), "dev", own.ARN))
	asks(policy.Allowed, "within a boundary")
	_, err = s.CreatePolicyVersion(ctx, acme.on(ActionCreatePolicyVersion, own.ARN), CreateVersionInput{
		ARN: own.ARN, SetDefault: true, Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
	})
	acme.must(err)
	asks(policy.ImplicitlyDenied, "beyond the new version of a boundary")
	acme.must(s.SetDefaultPolicyVersion(ctx, acme.on(ActionSetDefaultPolicyVersion, own.ARN), own.ARN, "v1"))
	asks(policy.Allowed, "within the old version again")
	acme.must(s.RemoveUserFromGroup(ctx, acme.identity(ActionRemoveUserFromGroup, sortGroup, "devs"), "devs", "dev"))
	asks(policy.ImplicitlyDenied, "out of the group")
}

// TestWhatIsSharedReachesEverybody changes a policy of the management account
// that a tenant's user has.
func TestWhatIsSharedReachesEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	f := s.FunctionResource(acme.account, "f")
	shared, err := s.CreatePolicy(ctx, operator.fresh(ActionCreatePolicy, sortPolicy, "shared"), CreatePolicyInput{Name: "shared", Text: allowAll})
	operator.must(err)
	_, k := acme.user("dev")
	dev := as(t, s, k.ID)
	acme.must(s.AttachUserPolicy(ctx, acme.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", shared.ARN))
	if got := acme.decides(dev.me, "lambda:GetFunction", f); got != policy.Allowed {
		t.Fatalf("by a shared policy: %v", got)
	}
	before, _ := s.Subject(&acme.me)
	_, err = s.CreatePolicyVersion(ctx, operator.on(ActionCreatePolicyVersion, shared.ARN), CreateVersionInput{
		ARN: shared.ARN, SetDefault: true, Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`,
	})
	operator.must(err)
	if got := acme.decides(dev.me, "lambda:GetFunction", f); got != policy.ExplicitlyDenied {
		t.Fatalf("by the new version of a shared policy: %v", got)
	}
	if after, _ := s.Subject(&acme.me); after.Identity != before.Identity {
		t.Error("who does not have the policy was compiled anew")
	}
	err = s.DeletePolicy(ctx, operator.on(ActionDeletePolicy, shared.ARN), shared.ARN)
	wants(t, err, fault.Conflict, "DeleteConflict")
	// Another tenant's policies are not to be had.
	globex := operator.tenant("globex")
	foreign, err := s.CreatePolicy(ctx, globex.fresh(ActionCreatePolicy, sortPolicy, "own"), CreatePolicyInput{Name: "own", Text: allowAll})
	globex.must(err)
	err = s.AttachUserPolicy(ctx, acme.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", foreign.ARN)
	wants(t, err, fault.NotFound, "NoSuchEntity")
}

// TestNothingIsLeftOfWhatWasDeleted (A06): keys, sessions and trust of users
// and roles that were deleted are worth nothing, also when others have their
// names.
func TestNothingIsLeftOfWhatWasDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	u, k := acme.user("dev")
	dev := as(t, s, k.ID)
	trustDev := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + u.ARN + `"},"Action":"sts:AssumeRole"}]}`
	r := acme.makeRole("ops", trustDev)
	session := sessionOf(r)
	federated := call.Principal{
		Type: call.TypeFederated, Account: acme.account, ARN: "arn:aws:sts::" + string(acme.account) + ":federated-user/x",
		Session: &call.Session{ID: "2", Issuer: u.ARN, IssuerUID: u.UID},
	}
	there := func(p call.Principal) bool { _, found := s.Subject(&p); return found }
	for name, p := range map[string]call.Principal{"key": dev.me, "session": session, "federated": federated} {
		if !there(p) {
			t.Fatalf("the twin: the %s is refused", name)
		}
	}
	if acme.decides(dev.me, "sts:AssumeRole", r.ARN) != policy.Allowed {
		t.Fatal("the twin: the role does not trust the user")
	}

	acme.must(s.UpdateAccessKey(ctx, acme.identity(ActionUpdateAccessKey, sortUser, "dev"), UpdateKeyInput{"dev", k.ID, keyInactive}))
	if there(dev.me) || s.KeyActive(k.ID) {
		t.Error("a key that is switched off is good for something")
	}
	if !there(federated) {
		t.Error("a session ends with the key that asked for it")
	}
	acme.deleteUser("dev")
	acme.deleteRole("ops")
	again, newKey := acme.user("dev")
	dev2 := as(t, s, newKey.ID)
	r2 := acme.makeRole("ops", trustDev)
	if again.UID == u.UID || again.ID == u.ID || again.ARN != u.ARN || r2.UID == r.UID {
		t.Fatalf("%+v after %+v", again, u)
	}
	for name, p := range map[string]call.Principal{"key": dev.me, "session": session, "federated": federated} {
		if there(p) {
			t.Errorf("the %s is good again for another of the same name", name)
		}
	}
	if acme.decides(dev2.me, "sts:AssumeRole", r2.ARN) != policy.Allowed {
		t.Error("the twin: a trust policy that was written for the new user does not trust it")
	}
	acme.deleteUser("dev")
	_, third := acme.user("dev")
	if got := acme.decides(as(t, s, third.ID).me, "sts:AssumeRole", r2.ARN); got == policy.Allowed {
		t.Error("a role trusts whoever has the name of a user that it trusted")
	}
	acme.must(s.UpdateAssumeRolePolicy(ctx, acme.identity(ActionUpdateAssumeRolePolicy, sortRole, "ops"), "ops", trustDev))
	if acme.decides(as(t, s, third.ID).me, "sts:AssumeRole", r2.ARN) != policy.Allowed {
		t.Error("a trust policy that was written again does not trust")
	}
}

// TestTrustOfOtherAccountsTellsNothing shows that writing a trust policy does
// not tell whether another tenant has a user, and that a name given later is
// not trusted.
func TestTrustOfOtherAccountsTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	trust := func(arn string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}]}`
	}
	_, err := s.CreateRole(ctx, acme.fresh(ActionCreateRole, sortRole, "own"), CreateRoleInput{Name: "own", Trust: trust(userARN(acme.account, "nobody"))})
	wants(t, err, fault.Invalid, "MalformedPolicyDocument")
	acme.shares(roleARN(acme.account, "*"), "globex")
	r := acme.makeRole("early", trust(userARN(globex.account, "late")))
	_, k := globex.user("late")
	globex.must(s.AttachUserPolicy(ctx, globex.identity(ActionAttachUserPolicy, sortUser, "late"), "late", directory.AdministratorAccess))
	late := as(t, s, k.ID)
	if acme.decides(late.me, "sts:AssumeRole", r.ARN) == policy.Allowed {
		t.Error("who got the name later is trusted")
	}
	r = acme.makeRole("now", trust(userARN(globex.account, "late")))
	if acme.decides(late.me, "sts:AssumeRole", r.ARN) != policy.Allowed {
		t.Error("the twin: who had the name is not trusted")
	}
}

// TestServicesHaveNothing shows that who has no policies is somebody all the
// same, so that resources can allow it something.
func TestServicesHaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	for _, kind := range []call.PrincipalType{call.TypeService, call.TypeAnonymous} {
		if subject, found := s.Subject(&call.Principal{Type: kind}); !found || subject.Identity != nil {
			t.Errorf("%s: %+v %v", kind, subject, found)
		}
	}
	for _, p := range []call.Principal{{}, {Type: call.TypeUser}, {Type: call.TypeRole, Account: s.Management()}, {Type: "Other", Account: s.Management()}} {
		if _, found := s.Subject(&p); found {
			t.Errorf("%+v is somebody", p)
		}
	}
}

// firstSchema puts records into a world as nodes before the policies wrote
// them: the management account and acme, with the keys AKIAmanagement and AKIAacme.
func firstSchema(t *testing.T, w *world) {
	t.Helper()
	w.plain = true
	now := time.Now().UTC()
	save := func(f family, record any, parts ...string) {
		t.Helper()
		k, err := newKey(f, parts...)
		if err != nil {
			t.Fatal(err)
		}
		value, err := encodeAs(1, record)
		if err != nil {
			t.Fatal(err)
		}
		kv := w.stores.Identities
		if f == tenantFamily {
			kv = w.stores.Tenants
		}
		if _, err := kv.Create(ctx, k, value); err != nil {
			t.Fatal(err)
		}
	}
	for slug, account := range map[string]tenant.AccountID{"management": "000000000001", "acme": "000000000002"} {
		uid := tenant.NewUID()
		if err := w.keys.CreateTenant(uid); err != nil {
			t.Fatal(err)
		}
		save(tenantFamily, tenantRecord{Tenant: tenant.Tenant{Slug: tenant.Slug(slug), UID: uid, Account: account, Plan: DefaultPlan, Status: tenant.Active}}, "t"+string(account))
		admin := userARN(account, AdminUser)
		save(userFamily, identityRecord1{Name: AdminUser, ARN: admin, UID: tenant.NewUID(), Account: account, CreatedAt: now}, string(uid), "u")
		save(roleFamily, identityRecord1{Name: FunctionRole, ARN: roleARN(account, FunctionRole), UID: tenant.NewUID(), Account: account, Trusts: LambdaService}, string(uid), "r")
		save(keyFamily, keyRecord1{ID: "AKIA" + slug, Secret: "s", Account: account, Principal: admin}, string(uid), "k")
	}
}

// TestSchema1 reads what nodes before the policies wrote.
func TestSchema1(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	firstSchema(t, w)
	s := w.open()
	acme := as(t, s, "AKIAacme")
	if acme.me.Type != call.TypeUser || acme.me.UserID == "" || acme.me.ARN != userARN(acme.account, AdminUser) {
		t.Errorf("%+v", acme.me)
	}
	if got := acme.decides(acme.me, "iam:CreateUser", userARN(acme.account, "x")); got != policy.Allowed {
		t.Errorf("the admin of before: %v", got)
	}
	r, found := s.identitiesOf(acme.account).Role(roleARN(acme.account, FunctionRole))
	if !found {
		t.Fatal("the role of functions is gone")
	}
	if _, _, err := policy.Parse(policy.Trust, []byte(r.Record.Trust)); err != nil {
		t.Error(err)
	}
	// A new name of the admin keeps its key, over a restart too.
	acme.must(s.UpdateUser(ctx, acme.identity(ActionUpdateUser, sortUser, AdminUser), UpdateUserInput{
		Name: AdminUser, NewName: "boss", Target: acme.fresh(ActionUpdateUser, sortUser, "boss"),
	}))
	s.Close()
	s = w.open()
	if boss := as(t, s, "AKIAacme"); boss.me.ARN != userARN(acme.account, "boss") || boss.me.UserID != acme.me.UserID {
		t.Errorf("%+v", boss.me)
	}
}

// TestRenamedUserKeepsOldKey gives the user of a key of the first schema
// another name on one node, while another node switches the key off: at each
// moment of the change in turn. Whoever has the old name next does not have
// the key.
func TestRenamedUserKeepsOldKey(t *testing.T) {
	t.Parallel()
	for at := 0; ; at++ {
		w := newWorld(t)
		firstSchema(t, w)
		two := w.open()
		sound, writes, off := w.stores.Identities, math.MinInt, error(nil)
		w.stores.Identities = flaky{sound, func(store.Key) error {
			if writes++; writes == at {
				writes = math.MinInt
				acme := as(t, two, "AKIAacme")
				off = two.UpdateAccessKey(ctx, acme.identity(ActionUpdateAccessKey, sortUser, AdminUser), UpdateKeyInput{AdminUser, "AKIAacme", keyInactive})
			}
			return nil
		}}
		one := w.open()
		w.stores.Identities = sound
		acme := as(t, one, "AKIAacme")
		writes = -1
		err := one.UpdateUser(ctx, acme.identity(ActionUpdateUser, sortUser, AdminUser), UpdateUserInput{
			Name: AdminUser, NewName: "boss", Target: acme.fresh(ActionUpdateUser, sortUser, "boss"),
		})
		if writes >= 0 {
			if at < 3 {
				t.Errorf("the control: there were %d writes", at)
			}
			return
		}
		if err != nil && (off != nil || !fault.Is(err, fault.Conflict)) {
			t.Errorf("at write %d: %v, the other %v", at, err, off)
		}
		s := w.open()
		k, found := s.ix.keys.get("AKIAacme")
		of, has := s.identitiesOf(acme.account).UserOf(k.Record)
		if !found || !has || of.Record.ID != acme.me.UserID {
			t.Fatalf("at write %d the key is of nobody", at)
		}
		if renamed := of.Record.Name == "boss"; renamed != (err == nil) || renamed && k.Record.UserUID == "" {
			t.Errorf("at write %d the key is %+v and its user %s, after %v", at, k.Record, of.Record.Name, err)
		}
		if k.Record.Inactive != (off == nil) {
			t.Errorf("at write %d the key is inactive: %v, after %v", at, k.Record.Inactive, off)
		}
	}
}
