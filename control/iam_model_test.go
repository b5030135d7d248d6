package control

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

// The policies of the model: policy p allows the action svc:p and nothing
// else, so who may do what is a set of letters.
var modelPolicies = []string{"a", "b", "c"}

func modelPolicy(p string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"svc:` + p + `","Resource":"*"}]}`
}

type modelHolder struct {
	managed, inline map[string]bool
	boundary        string
	groups          map[string]bool
	keys            map[string]bool // true for an active one
}

func newModelHolder() *modelHolder {
	return &modelHolder{managed: map[string]bool{}, inline: map[string]bool{}, groups: map[string]bool{}, keys: map[string]bool{}}
}

// identityHistory is one random run on an account.
type identityHistory struct {
	t      *testing.T
	r      *rand.Rand
	w      *world
	s      *Service
	o      who
	users  map[string]*modelHolder
	groups map[string]*modelHolder
	arns   map[string]string // of policies
	log    []string
}

func (h *identityHistory) expect(what string, err error, code string) bool {
	h.t.Helper()
	h.log = append(h.log, what)
	got := ""
	var f *fault.Error
	if err != nil && asFault(err, &f) {
		got = f.Code
	}
	if got != code {
		h.t.Fatalf("%s: %v, want %q; the history was %q", what, err, code, h.log)
	}
	return err == nil
}

func asFault(err error, f **fault.Error) bool {
	e, ok := err.(*fault.Error)
	*f = e
	return ok
}

func (h *identityHistory) step() {
	u, g, p := pick(h.r, []string{"u1", "u2"}), pick(h.r, []string{"g1", "g2"}), pick(h.r, modelPolicies)
	user, group := h.users[u], h.groups[g]
	noUser, noGroup := "", ""
	if user == nil {
		noUser = "NoSuchEntity"
	}
	if group == nil {
		noGroup = "NoSuchEntity"
	}
	switch act := h.r.IntN(16); act {
	case 0, 1:
		h.makeOrDelete(u, user)
	case 2, 3:
		h.makeOrDeleteGroup(g, group)
	case 4:
		if h.expect("attach "+p+u, h.s.AttachUserPolicy(ctx, h.o.identity(ActionAttachUserPolicy, sortUser, u), u, h.arns[p]), noUser) {
			user.managed[p] = true
		}
	case 5:
		code := noUser
		if user != nil && !user.managed[p] {
			code = "NoSuchEntity"
		}
		if h.expect("detach "+p+u, h.s.DetachUserPolicy(ctx, h.o.identity(ActionDetachUserPolicy, sortUser, u), u, h.arns[p]), code) {
			delete(user.managed, p)
		}
	case 6:
		if h.expect("inline "+p+u, h.s.PutUserPolicy(ctx, h.o.identity(ActionPutUserPolicy, sortUser, u), InlineInput{u, p, modelPolicy(p)}), noUser) {
			user.inline[p] = true
		}
	case 7:
		code := noUser
		if user != nil && !user.inline[p] {
			code = "NoSuchEntity"
		}
		if h.expect("delete inline "+p+u, h.s.DeleteUserPolicy(ctx, h.o.identity(ActionDeleteUserPolicy, sortUser, u), u, p), code) {
			delete(user.inline, p)
		}
	case 8:
		if h.expect("attach "+p+g, h.s.AttachGroupPolicy(ctx, h.o.identity(ActionAttachGroupPolicy, sortGroup, g), g, h.arns[p]), noGroup) {
			group.managed[p] = true
		}
	case 9:
		code := noGroup
		if group != nil && !group.managed[p] {
			code = "NoSuchEntity"
		}
		if h.expect("detach "+p+g, h.s.DetachGroupPolicy(ctx, h.o.identity(ActionDetachGroupPolicy, sortGroup, g), g, h.arns[p]), code) {
			delete(group.managed, p)
		}
	case 10, 11:
		h.member(act == 10, u, g)
	case 12:
		if h.expect("boundary "+p+u, h.s.PutUserPermissionsBoundary(ctx, h.o.identity(ActionPutUserBoundary, sortUser, u), u, h.arns[p]), noUser) {
			user.boundary = p
		}
	case 13:
		code := noUser
		if user != nil && user.boundary == "" {
			code = "NoSuchEntity"
		}
		if h.expect("no boundary "+u, h.s.DeleteUserPermissionsBoundary(ctx, h.o.identity(ActionDeleteUserBoundary, sortUser, u), u), code) {
			user.boundary = ""
		}
	case 14:
		h.key(u, user)
	case 15:
		h.s.Close()
		h.s = h.w.open()
		h.o = as(h.t, h.s, h.o.me.AccessKeyID)
		h.log = append(h.log, "restart")
	}
}

func (h *identityHistory) makeOrDelete(u string, user *modelHolder) {
	if user == nil || h.r.IntN(3) == 0 {
		_, err := h.s.CreateUser(ctx, h.o.fresh(ActionCreateUser, sortUser, u), CreateUserInput{Name: u})
		code := ""
		if user != nil {
			code = "EntityAlreadyExists"
		}
		if h.expect("create "+u, err, code) {
			h.users[u] = newModelHolder()
		}
		return
	}
	code := ""
	if len(user.managed)+len(user.inline)+len(user.groups)+len(user.keys) > 0 {
		code = "DeleteConflict"
	}
	if h.expect("delete "+u, h.s.DeleteUser(ctx, h.o.identity(ActionDeleteUser, sortUser, u), u), code) {
		delete(h.users, u)
	}
}

func (h *identityHistory) makeOrDeleteGroup(g string, group *modelHolder) {
	if group == nil {
		_, err := h.s.CreateGroup(ctx, h.o.fresh(ActionCreateGroup, sortGroup, g), "", g)
		if h.expect("create "+g, err, "") {
			h.groups[g] = newModelHolder()
		}
		return
	}
	code := ""
	for _, u := range h.users {
		if u.groups[g] {
			code = "DeleteConflict"
		}
	}
	if len(group.managed) > 0 {
		code = "DeleteConflict"
	}
	if h.expect("delete "+g, h.s.DeleteGroup(ctx, h.o.identity(ActionDeleteGroup, sortGroup, g), g), code) {
		delete(h.groups, g)
	}
}

func (h *identityHistory) member(add bool, u, g string) {
	code := ""
	if h.users[u] == nil || h.groups[g] == nil {
		code = "NoSuchEntity"
	}
	if add {
		if h.expect("add "+u+g, h.s.AddUserToGroup(ctx, h.o.identity(ActionAddUserToGroup, sortGroup, g), g, u), code) {
			h.users[u].groups[g] = true
		}
		return
	}
	if h.expect("remove "+u+g, h.s.RemoveUserFromGroup(ctx, h.o.identity(ActionRemoveUserFromGroup, sortGroup, g), g, u), code) {
		delete(h.users[u].groups, g)
	}
}

func (h *identityHistory) key(u string, user *modelHolder) {
	if user != nil && len(user.keys) > 0 && h.r.IntN(2) == 0 {
		id := slices.Sorted(maps.Keys(user.keys))[0]
		if h.r.IntN(2) == 0 {
			status := pick(h.r, []string{keyActive, keyInactive})
			if h.expect(status+u, h.s.UpdateAccessKey(ctx, h.o.identity(ActionUpdateAccessKey, sortUser, u), UpdateKeyInput{u, id, status}), "") {
				user.keys[id] = status == keyActive
			}
		} else if h.expect("delete key "+u, h.s.DeleteAccessKey(ctx, h.o.identity(ActionDeleteAccessKey, sortUser, u), UpdateKeyInput{User: u, ID: id}), "") {
			delete(user.keys, id)
		}
		return
	}
	code := ""
	switch {
	case user == nil:
		code = "NoSuchEntity"
	case len(user.keys) == 2:
		code = "LimitExceeded"
	}
	k, err := h.s.CreateAccessKey(ctx, h.o.identity(ActionCreateAccessKey, sortUser, u), u)
	if h.expect("key "+u, err, code) {
		user.keys[k.ID] = true
	}
}

// compare asks what every key may do, and looks at the lists.
func (h *identityHistory) compare() {
	h.t.Helper()
	page, err := h.s.ListUsers(ctx, h.o.on(ActionListUsers, IdentitiesResource(h.o.account, sortUser)), PathInput{})
	if err != nil || len(page.Items) != len(h.users)+1 {
		h.t.Fatalf("%d users, want %d and the admin: %v; the history was %q", len(page.Items), len(h.users), err, h.log)
	}
	for name, u := range h.users {
		may := maps.Clone(u.managed)
		maps.Copy(may, u.inline)
		for g := range u.groups {
			maps.Copy(may, h.groups[g].managed)
		}
		for id, active := range u.keys {
			p, found := h.s.Principal(id)
			if !found || h.s.KeyActive(id) != active {
				h.t.Fatalf("the key of %s is there: %v; the history was %q", name, found, h.log)
			}
			for _, action := range modelPolicies {
				want := policy.ImplicitlyDenied
				switch {
				case !active:
					want = policy.ExplicitlyDenied // decides gives this for nobody
				case may[action] && (u.boundary == "" || u.boundary == action):
					want = policy.Allowed
				}
				if got := h.o.decides(p, "svc:"+action, "arn:aws:svc:us-east-1:"+string(h.o.account)+":thing"); got != want {
					h.t.Fatalf("%s may do %s: %v, want %v; the history was %q", name, action, got, want, h.log)
				}
			}
		}
	}
}

// TestRandomIdentities runs random acts of IAM against a model of sets.
func TestRandomIdentities(t *testing.T) {
	t.Parallel()
	r := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		w := newWorld(t)
		h := &identityHistory{t: t, r: r, w: w, users: map[string]*modelHolder{}, groups: map[string]*modelHolder{}, arns: map[string]string{}}
		h.s = w.open()
		h.o = w.operator(h.s).tenant("acme")
		for _, p := range modelPolicies {
			made, err := h.s.CreatePolicy(ctx, h.o.fresh(ActionCreatePolicy, sortPolicy, p), CreatePolicyInput{Name: p, Text: modelPolicy(p)})
			h.o.must(err)
			h.arns[p] = made.ARN
		}
		for range 80 {
			h.step()
			h.compare()
		}
		if left := h.s.ix.orphans(); len(left) != 0 {
			t.Fatalf("%d records hang on nothing; the history was %q", len(left), h.log)
		}
		h.s.Close()
	}
}

// identities tells what an account has, without ids and times.
func (o who) identities() string {
	in := o.s.identitiesOf(o.account)
	var lines []string
	in.Users.Each(func(e *directory.Entry[directory.User]) bool {
		keys := keysOf(in, e)
		lines = append(lines, fmt.Sprint("user ", e.Record.ARN, e.Record.Tags, len(e.Record.Groups), e.Record.Managed, e.Record.Inline, e.Record.Boundary, len(keys)))
		return true
	})
	in.Groups.Each(func(e *directory.Entry[directory.Group]) bool {
		lines = append(lines, fmt.Sprint("group ", e.Record.ARN, e.Record.Managed, e.Record.Inline))
		return true
	})
	in.Roles.Each(func(e *directory.Entry[directory.Role]) bool {
		lines = append(lines, fmt.Sprint("role ", e.Record.ARN, e.Record.Trust, e.Record.Managed, e.Record.Inline))
		return true
	})
	in.Policies.Each(func(e *directory.Entry[directory.Policy]) bool {
		lines = append(lines, fmt.Sprint("policy ", e.Record.ARN, len(e.Record.Versions), e.Record.Default))
		return true
	})
	slices.Sort(lines)
	return strings.ReplaceAll(strings.Join(lines, "\n"), string(o.account), "ACCOUNT")
}
