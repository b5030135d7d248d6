package control

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// raw lists what lies in the stores of a family.
func (w *world) raw(f family) []store.Entry {
	w.t.Helper()
	prefix, err := store.NewKey(string(f))
	if err != nil {
		w.t.Fatal(err)
	}
	var entries []store.Entry
	for _, kv := range []store.KV{w.stores.Tenants, w.stores.Identities, w.stores.Functions} {
		if err := kv.List(context.Background(), prefix, func(e store.Entry) error {
			if !e.Deleted {
				entries = append(entries, e)
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	return entries
}

// TestNothingLiesOpen looks for what customers wrote, and for secrets, in the
// keys and values of the stores.
func TestNothingLiesOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	made, err := operator.createTenant(CreateTenantInput{Slug: "acme-marker", Tags: map[string]string{"tag": "tag-marker"}})
	if err != nil {
		t.Fatal(err)
	}
	acme := as(t, s, made.AccessKeyID)
	in := acme.input("name-marker", "code")
	in.Description, in.Environment, in.Tags = "description-marker", map[string]string{"KEY": "value-marker"}, map[string]string{"t": "ftag-marker"}
	acme.active(in)
	acme.publish("name-marker")
	acme.alias("name-marker", "alias-marker", "1")
	n := 0
	for _, f := range []family{tenantFamily, userFamily, roleFamily, keyFamily, functionFamily, versionFamily, aliasFamily} {
		for _, e := range w.raw(f) {
			n++
			for _, text := range []string{"marker", made.SecretAccessKey, made.AccessKeyID, s.FirstAdmin().SecretAccessKey} {
				if bytes.Contains(e.Value, []byte(text)) || bytes.Contains([]byte(e.Key.String()), []byte(text)) {
					t.Errorf("%q lies open in %s", text, e.Key)
				}
			}
		}
	}
	if n < 11 {
		t.Fatalf("only %d records were looked at", n)
	}
	if open, err := encode(in.Environment); err != nil || !bytes.Contains(open, []byte("marker")) {
		t.Fatal("the control: an unsealed record does not show the text either")
	}
}

// TestSwappedRecord is A09 seen from here: the record of one tenant's function
// in the place of another's is not served, and what hangs on the damaged one
// is not swept away.
func TestSwappedRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	for _, o := range []who{acme, globex} {
		o.active(o.input("f", "code of "+string(o.me.Tenant)))
		o.publish("f")
	}
	s.Close()
	records := w.raw(functionFamily)
	theirs := slices.IndexFunc(records, func(e store.Entry) bool { return Owner(e.Key) == ownerUID(s, globex) })
	mine := 1 - theirs
	if _, err := w.stores.Functions.Update(ctx, records[theirs].Key, records[mine].Value, records[theirs].Revision); err != nil {
		t.Fatal(err)
	}
	parts := len(w.raw(versionFamily))
	s = w.open()
	acme, globex = as(t, s, acme.me.AccessKeyID), as(t, s, globex.me.AccessKeyID)
	_, err := s.Resolve(globex.account, "f", "", 0)
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	_, err = s.CreateFunction(ctx, globex.may(ActionCreateFunction, "f"), globex.input("f", "new"))
	wants(t, err, fault.Internal, "")
	if s.Damaged() != 1 || len(w.raw(versionFamily)) != parts {
		t.Fatalf("%d damaged; %d of %d versions are left", s.Damaged(), len(w.raw(versionFamily)), parts)
	}
	if _, err := s.NamedBlobs(); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the named blobs are known: %v", err)
	}
	if _, err := s.Resolve(acme.account, "f", "1", 0); err != nil {
		t.Fatalf("the twin: the other tenant's function is gone too: %v", err)
	}
}

func ownerUID(s *Service, o who) tenant.UID {
	a, _ := s.ix.accounts.get(o.account)
	return a.UID
}

// TestLostPackage shows that a package that is gone makes a build fail with
// a reason, and nothing else.
func TestLostPackage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	w.builder.gate = make(chan struct{})
	acme.create(acme.input("f", "code"))
	s.Close()
	w.builder.gate = nil
	w.blobs.content = map[blobRef][]byte{}
	s = w.open()
	acme = as(t, s, acme.me.AccessKeyID)
	if v := acme.ready("f").Version; v.State != function.Failed || v.StateReasonCode != "InternalError" {
		t.Fatalf("it is %+v", v)
	}
}

func TestNamedBlobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "code"))
	list, err := s.NamedBlobs()
	if err != nil || len(list) != 2 || list[0].Kind == list[1].Kind {
		t.Fatal(list, err)
	}
	for _, b := range list {
		if content, err := w.blobs.Get(ctx, b.Owner, b.Kind, b.Digest); err != nil || len(content) == 0 || b.Kind != secret.Code && b.Kind != secret.Image {
			t.Fatal(b, err)
		}
	}
}

// TestChangesHaveARate shows that one account that changes something in a
// loop is throttled, and another is not.
func TestChangesHaveARate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rate = 1
	s := w.open()
	operator := w.operator(s)
	acme, globex := operator.tenant("acme"), operator.tenant("globex")
	acme.active(acme.input("f", "f"))
	var err error
	for range 1000 {
		if err = s.PutConcurrency(ctx, acme.may(ActionPutConcurrency, "f"), "f", 1); err != nil {
			break
		}
	}
	wants(t, err, fault.Throttled, "TooManyRequestsException")
	var f *fault.Error
	if errors.As(err, &f); f.Reason != "CallerRateLimitExceeded" || f.RetryAfter <= 0 {
		t.Fatalf("%+v", f)
	}
	acme.get("f", "")
	globex.create(globex.input("f", "f"))
	for range 20 {
		if _, err := operator.createTenant(CreateTenantInput{Slug: "x", Plan: "none"}); !fault.Is(err, fault.Invalid) {
			t.Fatal(err)
		}
	}
}

// TestBuildsTakeTurns shows that a tenant with many builds waiting does not
// keep another waiting behind them, and has one at a time.
func TestBuildsTakeTurns(t *testing.T) {
	t.Parallel()
	b := &builds{waiting: map[tenant.AccountID][]tenant.UID{}, running: map[tenant.AccountID]bool{}, work: make(chan struct{}, buildRunners)}
	for _, uid := range []tenant.UID{"a", "b", "b", "c"} {
		b.add("acme", uid)
	}
	b.add("globex", "x")
	take := func(account tenant.AccountID, uid tenant.UID) {
		t.Helper()
		gotAccount, gotUID, found := b.next()
		if gotAccount != account || gotUID != uid || found != (account != "") {
			t.Fatalf("next is %s %s %v, want %s %s", gotAccount, gotUID, found, account, uid)
		}
	}
	take("acme", "a")
	take("globex", "x")
	take("", "")
	b.add("globex", "y")
	take("", "")
	b.finished("acme")
	b.finished("globex")
	take("acme", "b")
	take("globex", "y")
	b.finished("acme")
	take("acme", "c")
	b.finished("acme")
	b.finished("globex")
	take("", "")
	if len(b.waiting)+len(b.running) != 0 {
		t.Fatalf("left over: %v %v", b.waiting, b.running)
	}
}
