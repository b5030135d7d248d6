package control

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// guarded says under which actions each method does anything. A method that
// takes a grant and is not in it fails the test.
var guarded = map[string][]string{
	"CreateFunction":              {ActionCreateFunction},
	"GetFunction":                 {ActionGetFunction, ActionGetConfiguration},
	"StartRollout":                {ActionStartRollout},
	"GetRollout":                  {ActionGetRollout},
	"PromoteRollout":              {ActionPromoteRollout},
	"RollbackRollout":             {ActionRollbackRollout},
	"PinVersion":                  {ActionPinVersion},
	"UnpinVersion":                {ActionUnpinVersion},
	"GetInstance":                 {ActionGetFunction},
	"GetCode":                     {ActionGetFunction},
	"UpdateFunctionCode":          {ActionUpdateCode},
	"UpdateFunctionConfiguration": {ActionUpdateConfig},
	"DeleteFunction":              {ActionDeleteFunction},
	"ListFunctions":               {ActionListFunctions},
	"PublishVersion":              {ActionPublishVersion},
	"ListVersions":                {ActionListVersions},
	"CreateAlias":                 {ActionCreateAlias},
	"GetAlias":                    {ActionGetAlias},
	"UpdateAlias":                 {ActionUpdateAlias},
	"DeleteAlias":                 {ActionDeleteAlias},
	"ListAliases":                 {ActionListAliases},
	"PutConcurrency":              {ActionPutConcurrency},
	"GetConcurrency":              {ActionGetConcurrency},
	"PutRecursion":                {ActionPutRecursion},
	"GetRecursion":                {ActionGetRecursion},
	"PutEventSchema":              {ActionPutEventSchema},
	"GetEventSchema":              {ActionGetEventSchema},
	"DeleteEventSchema":           {ActionDeleteEventSchema},
	"DeleteConcurrency":           {ActionDeleteConcurrency},
	"TagResource":                 {ActionTagResource},
	"UntagResource":               {ActionUntagResource},
	"ListTags":                    {ActionListTags},
	"AccountSettings":             {ActionGetAccountSettings},
	"PutEventConfig":              {ActionPutEventConfig},
	"UpdateEventConfig":           {ActionUpdateEventConfig},
	"GetEventConfig":              {ActionGetEventConfig},
	"DeleteEventConfig":           {ActionDeleteEventConfig},
	"ListEventConfigs":            {ActionListEventConfigs},
	"CreateURL":                   {ActionCreateURL},
	"GetURL":                      {ActionGetURL},
	"UpdateURL":                   {ActionUpdateURL},
	"DeleteURL":                   {ActionDeleteURL},
	"ListURLs":                    {ActionListURLs},
	"AddPermission":               {ActionAddPermission},
	"GetFunctionPolicy":           {ActionGetFunctionPolicy},
	"RemovePermission":            {ActionRemovePermission},
	"EndTenant":                   {iam.InvokeAction},
	"CreateTenant":                {ActionCreateTenant},
	"ListTenants":                 {ActionListTenants},
	"GetTenant":                   {ActionGetTenant},
	"SuspendTenant":               {ActionSuspendTenant},
	"ResumeTenant":                {ActionResumeTenant},
	"DeleteTenant":                {ActionDeleteTenant},
	"SetPlan":                     {ActionSetPlan},
	"PutProviderClaimTags":        {ActionPutProviderClaimTags},
	"ListProviderClaimTags":       {ActionListProviderClaimTags},
	"CreateDefaultRoles":          {ActionCreateDefaultRoles},
	"Organization":                {ActionGetOrganization},
	"CreateUnit":                  {ActionCreateUnit},
	"DeleteUnit":                  {ActionDeleteUnit},
	"MoveAccount":                 {ActionMoveAccount},
	"PutSharedPolicy":             {ActionPutPolicy},
	"GetSharedPolicy":             {ActionReadPolicy},
	"ListSharedPolicies":          {ActionReadPolicies},
	"DeleteSharedPolicy":          {ActionDropPolicy},
	"AttachGuardrail":             {ActionAttachPolicy},
	"DetachGuardrail":             {ActionDetachPolicy},
	"PutLayout":                   {ActionPutLayout},
	"ListLayouts":                 {ActionListLayouts},
	"DeleteLayout":                {ActionDeleteLayout},
	"CreateShare":                 {ActionCreateShare},
	"ListShares":                  {ActionListShares},
	"DeleteShare":                 {ActionDeleteShare},
	"CreateLink":                  {ActionCreateLink},
	"AcceptLink":                  {ActionAcceptLink},
	"ListLinks":                   {ActionListLinks},
	"DeleteLink":                  {ActionDeleteLink},
	"MarkGatekeeper":              {ActionMarkGatekeeper},
	"Prove":                       {ActionProveIsolation},
	"BreakGlass":                  {ActionBreakGlass},
	"AcceptFinding":               {ActionAcceptUnknown},
	"UnmarkGatekeeper":            {ActionUnmarkGatekeeper},
	"AcceptUnknown":               {ActionAcceptUnknown},
	"RevokeSession":               {ActionRevokeSession},
	"CreateToken":                 {ActionCreateToken},
	"AssumeRole":                  {ActionAssumeRole},
	"AssumeRoleWithWebIdentity":   {ActionAssumeRoleWeb},
	"GetSessionToken":             {ActionGetSessionToken},
	"GetFederationToken":          {ActionGetFederationToken},
	"GetAccessKeyInfo":            {ActionGetAccessKeyInfo},
	"DecodeAuthorizationMessage":  {ActionDecodeMessage},
}

// identityMethods are the operations of IAM: each is guarded by the action of
// its own name.
const identityMethods = `
CreateUser GetUser ListUsers UpdateUser DeleteUser TagUser UntagUser ListUserTags
PutUserPermissionsBoundary DeleteUserPermissionsBoundary PutUserPolicy GetUserPolicy ListUserPolicies DeleteUserPolicy
AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies ListGroupsForUser
CreateAccessKey ListAccessKeys UpdateAccessKey DeleteAccessKey GetAccessKeyLastUsed
CreateGroup GetGroup ListGroups UpdateGroup DeleteGroup AddUserToGroup RemoveUserFromGroup
PutGroupPolicy GetGroupPolicy ListGroupPolicies DeleteGroupPolicy AttachGroupPolicy DetachGroupPolicy ListAttachedGroupPolicies
CreateRole GetRole ListRoles UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy DeleteRole TagRole UntagRole ListRoleTags
PutRolePermissionsBoundary DeleteRolePermissionsBoundary PutRolePolicy GetRolePolicy ListRolePolicies DeleteRolePolicy
AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies ListInstanceProfilesForRole
CreatePolicy GetPolicy ListPolicies DeletePolicy CreatePolicyVersion GetPolicyVersion ListPolicyVersions
SetDefaultPolicyVersion DeletePolicyVersion ListEntitiesForPolicy TagPolicy UntagPolicy ListPolicyTags
CreateOpenIDConnectProvider GetOpenIDConnectProvider ListOpenIDConnectProviders DeleteOpenIDConnectProvider
AddClientIDToOpenIDConnectProvider RemoveClientIDFromOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint
GetAccountSummary GetAccountAuthorizationDetails SimulatePrincipalPolicy SimulateCustomPolicy
GetContextKeysForCustomPolicy GetContextKeysForPrincipalPolicy
TagOpenIDConnectProvider UntagOpenIDConnectProvider ListOpenIDConnectProviderTags
`

func guards() map[string][]string {
	all := maps.Clone(guarded)
	for _, name := range strings.Fields(identityMethods) {
		all[name] = []string{"iam:" + name}
	}
	return all
}

// untouched gives what a refused method must not have changed.
func (w *world) untouched() [4]int {
	w.t.Helper()
	var state [4]int
	for i, kv := range []store.KV{w.stores.Tenants, w.stores.Identities, w.stores.Functions} {
		head, err := kv.Head(context.Background(), store.Key{})
		if err != nil {
			w.t.Fatal(err)
		}
		state[i] = int(head)
	}
	w.blobs.mu.Lock()
	defer w.blobs.mu.Unlock()
	state[3] = len(w.blobs.content)
	return state
}

// arguments makes plausible arguments for a method: the function f, the
// tenant acme.
func arguments(method reflect.Value, o who, g iam.Grant) []reflect.Value {
	in := make([]reflect.Value, method.Type().NumIn())
	for i := range in {
		in[i] = reflect.New(method.Type().In(i)).Elem()
		switch in[i].Interface().(type) {
		case function.Name:
			in[i].SetString("f")
		case tenant.Slug:
			in[i].SetString("acme")
		case tenant.EndTenantID:
			in[i].SetString("customer")
		case iam.Grant:
			in[i].Set(reflect.ValueOf(g))
		case CreateFunctionInput:
			in[i].Set(reflect.ValueOf(o.input("new", "new")))
		case CreateTenantInput:
			in[i].Set(reflect.ValueOf(CreateTenantInput{Slug: "globex"}))
		default:
			if in[i].Kind() == reflect.Interface {
				in[i].Set(reflect.ValueOf(context.Background()))
			} else if in[i].Kind() == reflect.Struct && in[i].FieldByName("Name").IsValid() {
				in[i].FieldByName("Name").SetString("f")
			}
		}
	}
	return in
}

func TestEveryMethodNeedsItsOwnGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	acme.active(acme.input("f", "f"))
	acme.active(acme.input("other", "other"))
	guarded := guards()

	var actions []string
	for _, a := range guarded {
		actions = append(actions, a...)
	}
	slices.Sort(actions)
	actions = append(slices.Compact(actions), "lambda:*", "*", "carrel:*")
	resources := []string{
		s.FunctionResource(acme.account, "f"), s.FunctionResource(acme.account, "new"), s.AccountResource(acme.account),
		s.TenantResource("acme"), s.TenantResource("globex"), s.TenantsResource(),
	}
	seen := map[string]bool{}
	value := reflect.ValueOf(s)
	for i := range value.NumMethod() {
		name, method := value.Type().Method(i).Name, value.Method(i)
		takes := false
		for j := range method.Type().NumIn() {
			takes = takes || method.Type().In(j) == reflect.TypeFor[iam.Grant]()
		}
		if !takes {
			continue
		}
		seen[name] = true
		if guarded[name] == nil {
			t.Errorf("%s takes a grant and is not in the table of this test", name)
			continue
		}
		before := w.untouched()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes a zero grant", name)
				}
			}()
			method.Call(arguments(method, acme, iam.Grant{}))
		}()
		for _, action := range actions {
			for _, resource := range resources {
				who := acme
				if resource == s.TenantResource("acme") || resource == s.TenantResource("globex") || resource == s.TenantsResource() {
					who = operator
				}
				if slices.Contains(guarded[name], action) {
					// The right action on what is not its resource.
					resource = s.FunctionResource(who.account, "unrelated")
					if name == "EndTenant" {
						continue // any function of the account may be called
					}
				}
				out := method.Call(arguments(method, acme, who.on(action, resource)))
				err, _ := out[len(out)-1].Interface().(error)
				if !fault.Is(err, fault.Denied) {
					t.Errorf("%s with a grant for %s on %s: %v", name, action, resource, err)
				}
			}
		}
		if after := w.untouched(); after != before {
			t.Errorf("%s changed something without its grant: %v, then %v", name, before, after)
		}
	}
	for name := range maps.Keys(guarded) {
		if !seen[name] {
			t.Errorf("%s is in the table and takes no grant", name)
		}
	}
}

// TestStaleGrant shows that a grant from before a suspension is decided again.
func TestStaleGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme := operator.tenant("acme")
	create, read := acme.may(ActionCreateFunction, "f"), acme.on(ActionListFunctions, s.AccountResource(acme.account))
	in := acme.input("f", "f")
	if _, err := s.SuspendTenant(context.Background(), operator.on(ActionSuspendTenant, s.TenantResource("acme")), "acme"); err != nil {
		t.Fatal(err)
	}
	_, err := s.CreateFunction(context.Background(), create, in)
	wants(t, err, fault.Suspended, "AccessDeniedException")
	_, err = s.ListFunctions(context.Background(), read, ListInput{})
	wants(t, err, fault.Suspended, "AccessDeniedException")
	if _, err := s.ResumeTenant(context.Background(), operator.on(ActionResumeTenant, s.TenantResource("acme")), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateFunction(context.Background(), create, in); err != nil {
		t.Fatalf("the twin: after the suspension it is refused: %v", err)
	}
}

// TestJournalFirst shows that nothing is changed that is not journaled, and
// that refusals are.
func TestJournalFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	w.journal.mu.Lock()
	w.journal.broken = context.DeadlineExceeded
	w.journal.mu.Unlock()
	before := w.untouched()
	wants(t, s.PutConcurrency(context.Background(), acme.may(ActionPutConcurrency, "f"), "f", 1), fault.Unavailable, "ServiceException")
	_, err := s.CreateFunction(context.Background(), acme.may(ActionCreateFunction, "g"), acme.input("g", "g"))
	wants(t, err, fault.Unavailable, "ServiceException")
	if after := w.untouched(); after != before {
		t.Fatal("something was changed that was not journaled")
	}
	if _, err := s.GetFunction(context.Background(), acme.may(ActionGetFunction, "f"), "f", ""); err != nil {
		t.Fatalf("the twin: a read is refused too: %v", err)
	}
	w.journal.mu.Lock()
	w.journal.broken = nil
	n := len(w.journal.decided)
	w.journal.mu.Unlock()
	if err := s.PutConcurrency(context.Background(), acme.may(ActionPutConcurrency, "f"), "f", -1); err == nil {
		t.Fatal("less than nothing was reserved")
	}
	w.journal.mu.Lock()
	decided, outcome := w.journal.decided[n:], w.journal.outcomes[len(w.journal.outcomes)-1]
	w.journal.mu.Unlock()
	if !slices.Equal(decided, []string{ActionPutConcurrency}) || !fault.Is(outcome, fault.Invalid) {
		t.Fatalf("journaled %v with the outcome %v", decided, outcome)
	}
	refusals := len(w.journal.refused)
	_, err = s.Authorise(context.Background(), iam.Request{
		Principal: acme.me, Action: ActionGetFunction, Resource: s.FunctionResource(s.Management(), "f"), Owner: tenant.Identity{Account: s.Management()},
	}, "request")
	if wants(t, err, fault.Denied, "AccessDeniedException"); len(w.journal.refused) != refusals+1 {
		t.Fatal("the refusal was not journaled")
	}
}
