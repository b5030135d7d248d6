package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

// twoNodes are two services on one store, with an operator and a tenant's admin
// at each.
func twoNodes(t *testing.T) (operators, admins [2]who) {
	t.Helper()
	w := newWorld(t)
	w.rate = 100_000
	one := w.open()
	acme := w.operator(one).tenant("acme")
	two := w.open()
	return [2]who{w.operator(one), w.operator(two)}, [2]who{acme, as(t, two, acme.me.AccessKeyID)}
}

// settled brings a node's view up to date with what the other did.
func (o who) settled() {
	o.t.Helper()
	o.s.gate.mu.Lock()
	defer o.s.gate.mu.Unlock()
	o.s.gate.started = false
	_, err := o.s.gate.settle(ctx)
	o.must(err)
}

// TestTwoNodesGiveANameOnce has two nodes give one name at the same time to
// what is kept under internal ids.
func TestTwoNodesGiveANameOnce(t *testing.T) {
	t.Parallel()
	operators, admins := twoNodes(t)
	for i := range 2 {
		admins[0].user(fmt.Sprintf("u%d", i))
	}
	admins[1].settled()
	for round := range testrounds.Rounds(t) {
		name := fmt.Sprintf("n%d", round)
		spelt := [2]string{name, strings.ToUpper(name)}
		for what, act := range map[string]func(i int) error{
			"user": func(i int) error {
				o := admins[i]
				_, err := o.s.CreateUser(ctx, o.fresh(ActionCreateUser, sortUser, spelt[i]), CreateUserInput{Name: spelt[i]})
				return err
			},
			"group": func(i int) error {
				o := admins[i]
				_, err := o.s.CreateGroup(ctx, o.fresh(ActionCreateGroup, sortGroup, spelt[i]), "", spelt[i])
				return err
			},
			"role": func(i int) error {
				o := admins[i]
				_, err := o.s.CreateRole(ctx, o.fresh(ActionCreateRole, sortRole, spelt[i]), CreateRoleInput{Name: spelt[i], Trust: trustOf(LambdaService)})
				return err
			},
			"unit": func(i int) error {
				o := operators[i]
				_, err := o.s.CreateUnit(ctx, o.ours(ActionCreateUnit, "unit/"+name), CreateUnitInput{Name: name})
				return err
			},
		} {
			if n := together(t, 2, act); n != 1 {
				t.Errorf("%d nodes made the %s %s", n, what, name)
			}
		}
	}
	// Two users that are there are given one name.
	for round := range testrounds.Rounds(t) {
		for _, o := range admins {
			o.settled()
		}
		name := fmt.Sprintf("r%d", round)
		var from [2]string
		users := admins[0].s.identitiesOf(admins[0].account).Users
		users.Each(func(e *directory.Entry[directory.User]) bool {
			switch {
			case e.Record.Name == AdminUser:
			case from[0] == "":
				from[0] = e.Record.Name
			default:
				from[1] = e.Record.Name
			}
			return from[1] == ""
		})
		if n := together(t, 2, func(i int) error {
			o := admins[i]
			return o.s.UpdateUser(ctx, o.identity(ActionUpdateUser, sortUser, from[i]), UpdateUserInput{
				Name: from[i], NewName: name, Target: o.fresh(ActionUpdateUser, sortUser, name),
			})
		}); n != 1 {
			t.Errorf("%d of two users were given the name %s", n, name)
		}
	}
	for i, o := range admins {
		o.settled()
		in, seen := o.s.identitiesOf(o.account), map[string]string{}
		for _, r := range o.s.ix.records {
			if u, is := r.T.(*directory.User); is && u.Account == o.account {
				folded := strings.ToLower(u.Name)
				if seen[folded] != "" {
					t.Errorf("node %d: %s and %s are both there", i, u.Name, seen[folded])
				}
				seen[folded] = u.Name
			}
		}
		if len(seen) != in.Users.Len() {
			t.Errorf("node %d: %d users, and %d are found by name", i, len(seen), in.Users.Len())
		}
	}
}

// TestTwoNodesLeaveNothingDangling has one node delete what the other begins to
// use at the same time: whoever comes second is refused, and nobody is left
// with a group, policy or unit that is not there, who could do nothing then.
func TestTwoNodesLeaveNothingDangling(t *testing.T) {
	t.Parallel()
	operators, admins := twoNodes(t)
	admin := admins[0]
	admin.user("dev")
	admins[1].settled()
	del, use := admins[0], admins[1]
	opDel, opUse := operators[0], operators[1]
	for round := range testrounds.Rounds(t) {
		name := fmt.Sprintf("n%d", round)
		_, err := admin.s.CreateGroup(ctx, admin.fresh(ActionCreateGroup, sortGroup, name), "", name)
		admin.must(err)
		own, err := admin.s.CreatePolicy(ctx, admin.fresh(ActionCreatePolicy, sortPolicy, name), CreatePolicyInput{Name: name, Text: modelPolicy("a")})
		admin.must(err)
		shared, err := opDel.putPolicy("s-"+name, denyInvoke)
		admin.must(err)
		opDel.unit(name, "")
		use.settled()
		opUse.settled()
		for what, act := range map[string][2]func() error{
			"group": {
				func() error {
					return del.s.DeleteGroup(ctx, del.identity(ActionDeleteGroup, sortGroup, name), name)
				},
				func() error {
					return use.s.AddUserToGroup(ctx, use.identity(ActionAddUserToGroup, sortGroup, name), name, "dev")
				},
			},
			"policy": {
				func() error { return del.s.DeletePolicy(ctx, del.on(ActionDeletePolicy, own.ARN), own.ARN) },
				func() error {
					return use.s.AttachUserPolicy(ctx, use.identity(ActionAttachUserPolicy, sortUser, "dev"), "dev", own.ARN)
				},
			},
			"shared policy": {
				func() error {
					return opDel.s.DeleteSharedPolicy(ctx, opDel.ours(ActionDropPolicy, "policy/s-"+name), "s-"+name)
				},
				func() error {
					return use.s.PutUserPermissionsBoundary(ctx, use.identity(ActionPutUserBoundary, sortUser, "dev"), "dev", shared.ARN)
				},
			},
			"unit": {
				func() error { return opDel.s.DeleteUnit(ctx, opDel.ours(ActionDeleteUnit, "unit/"+name), name) },
				func() error { return opUse.move("acme", name) },
			},
		} {
			errs := [2]error{}
			together(t, 2, func(i int) error {
				errs[i] = act[i]()
				if fault.Is(errs[i], fault.NotFound) { // it saw the deletion
					return nil
				}
				return errs[i]
			})
			if errs[0] == nil && errs[1] == nil {
				t.Errorf("%s %s was deleted and is in use", what, name)
			}
			if errs[0] != nil && errs[1] != nil {
				t.Errorf("%s %s: neither came first: %v; %v", what, name, errs[0], errs[1])
			}
		}
		for _, o := range admins {
			o.settled()
			in := o.s.identitiesOf(o.account)
			dev, _ := in.Users.Get("dev")
			around, known := o.s.around(o.account)
			if _, ok := in.UserSubject(o.s.compiler, dev, around); !known || !ok {
				t.Fatalf("round %d: something hangs on nothing: %+v %v", round, dev.Record, known)
			}
		}
		// What was taken into use is let go, so that the next round can.
		use.settled()
		for _, arn := range devOf(use).Managed {
			use.must(use.s.DetachUserPolicy(ctx, use.identity(ActionDetachUserPolicy, sortUser, "dev"), "dev", arn))
		}
		if _, there := use.s.identitiesOf(use.account).Groups.Get(name); there && slices.Contains(devOf(use).Groups, groupOf(use, name)) {
			use.must(use.s.RemoveUserFromGroup(ctx, use.identity(ActionRemoveUserFromGroup, sortGroup, name), name, "dev"))
		}
		del.settled()
	}
}

func devOf(o who) *directory.User {
	u, _ := o.s.identitiesOf(o.account).Users.Get("dev")
	return u.Record
}

func groupOf(o who, name string) string {
	g, _ := o.s.identitiesOf(o.account).Groups.Get(name)
	return g.Record.ID
}
