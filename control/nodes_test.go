package control

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/store"
)

// together runs n of the same at once and gives how many did not fail; what
// fails has to be a Conflict.
func together(t *testing.T, n int, do func(i int) error) (succeeded int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := do(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				succeeded++
			} else if !fault.Is(err, fault.Conflict) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return succeeded
}

// TestActsAtTheSameTime shows that no change gets lost in another.
func TestActsAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	grants := acme.may(ActionTagResource, "f")
	if n := together(t, 40, func(i int) error {
		return s.TagResource(ctx, grants, "f", map[string]string{strconv.Itoa(i): "x"})
	}); n != 40 {
		t.Fatalf("%d of 40 succeeded", n)
	}
	if tags := acme.get("f", "").Tags; len(tags) != 40 {
		t.Fatalf("%d tags are left of 40", len(tags))
	}
	create := acme.may(ActionCreateFunction, "g")
	if n := together(t, 10, func(int) error {
		_, err := s.CreateFunction(ctx, create, acme.input("g", "g"))
		return err
	}); n != 1 {
		t.Fatalf("%d of 10 made the function", n)
	}
}

// TestTwoNodes runs two services on the same stores: both see what the other
// did, and of two that do the same, one does it.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.open()
	acme := w.operator(one).tenant("acme")
	acme.active(acme.input("f", "f"))
	two := w.open()
	nodes := []who{acme, as(t, two, acme.me.AccessKeyID)}
	operators := []who{w.operator(one), w.operator(two)}

	if n := together(t, 2, func(i int) error {
		_, err := operators[i].createTenant(CreateTenantInput{Slug: "globex"})
		return err
	}); n != 1 {
		t.Fatalf("%d of two nodes made the tenant", n)
	}
	if n := together(t, 2, func(i int) error {
		_, err := nodes[i].s.CreateFunction(ctx, nodes[i].may(ActionCreateFunction, "g"), nodes[i].input("g", "g"))
		return err
	}); n != 1 {
		t.Fatalf("%d of two nodes made the function", n)
	}
	numbers := map[string]bool{}
	var mu sync.Mutex
	for round := range 10 {
		n := together(t, 2, func(i int) error {
			timeout := 10 + round
			if i == 0 {
				if _, err := nodes[0].update(UpdateConfigurationInput{Name: "f", TimeoutSec: &timeout}); err != nil {
					return err
				}
			}
			v, err := nodes[i].s.PublishVersion(ctx, nodes[i].may(ActionPublishVersion, "f"), PublishInput{Name: "f"})
			if err == nil {
				mu.Lock()
				numbers[v.Version.Number+" "+v.Version.Limits.Timeout.String()] = true
				mu.Unlock()
			}
			return err
		})
		if n == 0 {
			t.Fatal("neither node published")
		}
	}
	seen := map[string]bool{}
	for what := range numbers {
		var number, timeout string
		fmt.Sscan(what, &number, &timeout)
		if seen[number] {
			t.Fatalf("version %s was given twice: %v", number, numbers)
		}
		seen[number] = true
	}
	// A suspension at one node is in force at the other once that has heard of it.
	if _, err := operators[0].s.SuspendTenant(ctx, operators[0].on(ActionSuspendTenant, one.TenantResource("acme")), "acme"); err != nil {
		t.Fatal(err)
	}
	head, err := w.stores.Tenants.Head(ctx, store.Key{})
	if err == nil {
		err = two.tenants.Wait(ctx, head)
	}
	if err != nil || two.KeyActive(acme.me.AccessKeyID) {
		t.Fatalf("the other node still serves: %v", err)
	}
}

func FuzzMarker(f *testing.F) {
	f.Add("", 0)
	f.Add("Zg", 1)
	f.Add("Zg==", 50)
	f.Add("ZgAwMDAwMDAwMDA3", 2)
	names := []string{"a", "f", versionName("f", 7), "g"}
	f.Fuzz(func(t *testing.T, marker string, max int) {
		page, err := pageOf("test", PageInput{marker, max}, names, func(name string) (function.Name, error) {
			name, qualifier := splitVersion(name)
			return function.Name(name + ":" + qualifier), nil
		})
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if len(page.Items) > len(names) || max > 0 && len(page.Items) > max || page.NextMarker != "" && page.NextMarker == marker {
			t.Fatalf("%d items, then %q", len(page.Items), page.NextMarker)
		}
	})
}
