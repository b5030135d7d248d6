package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

var errDead = errors.New("the process was killed")

// mortal is a store of a process that is killed at its n-th write: before the
// write, or after it and before its acknowledgement.
type mortal struct {
	store.KV
	left  *atomic.Int64
	after bool
}

func (m mortal) write(do func() (store.Revision, error)) (store.Revision, error) {
	left := m.left.Add(-1)
	if left < 0 && (left < -1 || !m.after) {
		return 0, errDead
	}
	rev, err := do()
	if left < 0 {
		return 0, errors.Join(err, errDead)
	}
	return rev, err
}

func (m mortal) Create(ctx context.Context, k store.Key, v []byte) (store.Revision, error) {
	return m.write(func() (store.Revision, error) { return m.KV.Create(ctx, k, v) })
}

func (m mortal) Update(ctx context.Context, k store.Key, v []byte, last store.Revision) (store.Revision, error) {
	return m.write(func() (store.Revision, error) { return m.KV.Update(ctx, k, v, last) })
}

func (m mortal) Delete(ctx context.Context, k store.Key, last store.Revision) (store.Revision, error) {
	return m.write(func() (store.Revision, error) { return m.KV.Delete(ctx, k, last) })
}

// summary tells everything that a customer can see, without ids and times.
func (o who) summary() string {
	var lines []string
	o.s.ix.accounts.each(func(_ tenant.AccountID, a *account) {
		lines = append(lines, fmt.Sprintf("tenant %s %s %s", a.Slug, a.Status, a.plan.Name))
	})
	for _, name := range o.s.ix.functionNames(o.account) {
		d, _ := o.s.ix.functions.get(functionName{o.account, name})
		line := fmt.Sprintf("function %s %s", name, versionText(&d.Latest))
		for _, n := range d.numbers() {
			line += fmt.Sprintf(" %s=(%s)", n, versionText(&d.versions[n].T.Version))
		}
		for _, a := range slices.Sorted(maps.Keys(d.aliases)) {
			line += fmt.Sprintf(" %s->%s%v", a, d.aliases[a].T.Version, d.aliases[a].T.Weights)
		}
		for _, e := range slices.Sorted(maps.Keys(d.events)) {
			line += fmt.Sprintf(" event %s", e)
		}
		for _, q := range slices.Sorted(maps.Keys(d.permissions)) {
			line += fmt.Sprintf(" policy %s %d", q, len(d.permissions[q].T.Statements))
		}
		lines = append(lines, line+fmt.Sprintf(" %v %v", d.Tags, d.Reserved != nil))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n" + o.identities()
}

func versionText(v *function.Version) string {
	return fmt.Sprintf("%s %s %s %.8s %s %v", v.Number, v.State, v.UpdateStatus, v.Package, v.Limits.Timeout, v.Artifact != "")
}

// TestKilledBetweenWrites kills the process at each write of each act, before
// the write and after it, and starts anew: what the act was to do has happened
// or not, or is at one of the stages that the act's own order allows; nothing
// hangs on nothing.
func TestKilledBetweenWrites(t *testing.T) {
	t.Parallel()
	two := "2"
	for name, c := range map[string]struct {
		act    func(o who, operator who) error
		stages int // the states between before and after that may be seen
	}{
		"create": {func(o, _ who) error {
			_, err := o.s.CreateFunction(ctx, o.may(ActionCreateFunction, "new"), o.input("new", "n"))
			return err
		}, 0},
		"create and publish": {func(o, _ who) error {
			in := o.input("new", "n")
			in.Publish = true
			_, err := o.s.CreateFunction(ctx, o.may(ActionCreateFunction, "new"), in)
			return err
		}, 1},
		"update": {func(o, _ who) error {
			_, err := o.code(UpdateCodeInput{Name: "f", Package: module("three")})
			return err
		}, 0},
		"update and publish": {func(o, _ who) error {
			_, err := o.code(UpdateCodeInput{Name: "f", Package: module("three"), Publish: true})
			return err
		}, 1},
		"publish": {func(o, _ who) error {
			_, err := o.s.PublishVersion(ctx, o.may(ActionPublishVersion, "f"), PublishInput{Name: "f"})
			return err
		}, 0},
		"delete": {func(o, _ who) error {
			return o.s.DeleteFunction(ctx, o.may(ActionDeleteFunction, "f"), "f", "")
		}, 0},
		"delete a version": {func(o, _ who) error {
			return o.s.DeleteFunction(ctx, o.may(ActionDeleteFunction, "f"), "f", "2")
		}, 1},
		"delete an alias": {func(o, _ who) error {
			return o.s.DeleteAlias(ctx, o.may(ActionDeleteAlias, "f"), "f", "live")
		}, 2}, // who may call it goes first, then its settings
		"update an alias": {func(o, _ who) error {
			_, err := o.s.UpdateAlias(ctx, o.may(ActionUpdateAlias, "f"), AliasInput{Name: "f", Alias: "live", Version: &two})
			return err
		}, 0},
		"make a user": {func(o, _ who) error {
			_, err := o.s.CreateUser(ctx, o.fresh(ActionCreateUser, sortUser, "new"), CreateUserInput{Name: "new"})
			return err
		}, 0},
		"make a key": {func(o, _ who) error {
			_, err := o.s.CreateAccessKey(ctx, o.identity(ActionCreateAccessKey, sortUser, "dev"), "dev")
			return err
		}, 0},
		"give a user another name": {func(o, _ who) error {
			return o.s.UpdateUser(ctx, o.identity(ActionUpdateUser, sortUser, "dev"), UpdateUserInput{
				Name: "dev", NewName: "developer", Target: o.fresh(ActionUpdateUser, sortUser, "developer"),
			})
		}, 0},
		"give a group another name": {func(o, _ who) error {
			return o.s.UpdateGroup(ctx, o.identity(ActionUpdateGroup, sortGroup, "devs"), UpdateGroupInput{
				Name: "devs", NewName: "developers", Target: o.fresh(ActionUpdateGroup, sortGroup, "developers"),
			})
		}, 0},
		"attach a policy": {func(o, _ who) error {
			return o.s.AttachUserPolicy(ctx, o.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", directory.TenantDeveloper)
		}, 0},
		"delete a role": {func(o, _ who) error { return o.s.DeleteRole(ctx, o.identity(ActionDeleteRole, sortRole, "ops"), "ops") }, 0},
		"make the default roles": {func(o, _ who) error {
			_, err := o.s.CreateDefaultRoles(ctx, o.on(ActionCreateDefaultRoles, IdentityAccountResource(o.account)))
			return err
		}, 0},
		"let somebody call": {func(o, _ who) error {
			_, err := o.s.AddPermission(ctx, o.may(ActionAddPermission, "f"), PermissionInput{
				Name: "f", Qualifier: "live", StatementID: "more", Action: "lambda:InvokeFunction", Principal: "s3.amazonaws.com", SourceAccount: string(o.account),
			})
			return err
		}, 0},
		"make a tenant": {func(_, operator who) error {
			_, err := operator.createTenant(CreateTenantInput{Slug: "globex"})
			return err
		}, 0},
		"delete a tenant": {func(_, operator who) error { return operator.deleteTenant("other") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			var before, after string
			for n := int64(0); after == ""; n++ {
				for _, late := range []bool{false, true} {
					start, end, acked := killedAt(t, c.act, mortal{left: new(atomic.Int64), after: late}, n)
					if before = start; acked {
						after = end
					} else if end != before {
						seen[end] = true
					}
				}
				if n > 50 {
					t.Fatal("the act never ends")
				}
			}
			delete(seen, after)
			if after == before || len(seen) > c.stages {
				t.Errorf("before:\n%s\nafter:\n%s\nand these were seen: %v", before, after, seen)
			}
		})
	}
}

// killedAt runs an act in a process that is killed at its n-th write, and
// gives what could be seen before it and after the next start, and whether
// the act was acknowledged.
func killedAt(t *testing.T, act func(o, operator who) error, m mortal, n int64) (before, after string, acked bool) {
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	operator.tenant("other")
	acme := operator.tenant("acme")
	acme.active(acme.input("f", "one"))
	acme.publish("f")
	if _, err := acme.code(UpdateCodeInput{Name: "f", Package: module("two")}); err != nil {
		t.Fatal(err)
	}
	acme.ready("f")
	acme.publish("f")
	timeout := 9
	if _, err := acme.update(UpdateConfigurationInput{Name: "f", TimeoutSec: &timeout}); err != nil {
		t.Fatal(err)
	}
	acme.alias("f", "live", "1")
	acme.user("dev")
	_, err := s.CreateGroup(ctx, acme.fresh(ActionCreateGroup, sortGroup, "devs"), "", "devs")
	acme.must(err)
	acme.must(s.AddUserToGroup(ctx, acme.identity(ActionAddUserToGroup, sortGroup, "devs"), "devs", "dev"))
	acme.makeRole("ops", trustOf(LambdaService))
	_, err = s.AddPermission(ctx, acme.may(ActionAddPermission, "f"), PermissionInput{
		Name: "f", Qualifier: "live", StatementID: "s3", Action: "lambda:InvokeFunction", Principal: "s3.amazonaws.com",
	})
	acme.must(err)
	one := 1
	for _, q := range []string{"live", "2"} {
		if _, err := s.PutEventConfig(ctx, acme.may(ActionPutEventConfig, "f"), "f", function.EventConfig{Qualifier: q, MaximumRetries: &one}); err != nil {
			t.Fatal(err)
		}
	}
	before = acme.summary()
	s.Close()

	alive := w.stores
	m.left.Store(1 << 30)
	for _, kv := range []*store.KV{&w.stores.Tenants, &w.stores.Identities, &w.stores.Functions} {
		*kv = mortal{*kv, m.left, m.after}
	}
	s = w.open()
	acme, operator = as(t, s, acme.me.AccessKeyID), w.operator(s)
	m.left.Store(n)
	acked = act(acme, operator) == nil
	s.Close()

	w.stores = alive
	s = w.open()
	acme = as(t, s, acme.me.AccessKeyID)
	for _, name := range s.ix.functionNames(acme.account) {
		acme.ready(name)
	}
	if left := s.ix.orphans(); len(left) != 0 {
		t.Errorf("killed at write %d: %d records hang on nothing", n, len(left))
	}
	return before, acme.summary(), acked
}
