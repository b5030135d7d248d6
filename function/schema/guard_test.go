package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

func target(owner, digest string) *function.Target {
	return &function.Target{Schema: function.SchemaRef{Owner: tenant.UID(owner), Digest: function.Digest(digest)}}
}

func TestGuardChecksAndCharges(t *testing.T) {
	loads := 0
	g := NewGuard(func(_ context.Context, owner tenant.UID, digest function.Digest) ([]byte, error) {
		loads++
		if owner != "acme" || digest != "d" {
			return nil, errors.New("not there")
		}
		return []byte(`{"type":"object"}`), nil
	}, time.Now)
	took, err := g.Check(t.Context(), "1", target("acme", "d"), []byte(`{}`))
	if err != nil || took <= 0 {
		t.Errorf("a good event: %s, %v", took, err)
	}
	if took, err = g.Check(t.Context(), "1", target("acme", "d"), []byte(`[]`)); !fault.Is(err, fault.Invalid) || took <= 0 {
		t.Errorf("a bad event: %s, %v", took, err)
	}
	if loads != 1 {
		t.Errorf("the schema was loaded %d times", loads)
	}
	for range 2 {
		if _, err = g.Check(t.Context(), "1", target("acme", "gone"), []byte(`{}`)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without its schema: %v", err)
		}
	}
	if loads != 3 {
		t.Errorf("a schema that was not there was looked for %d times, want at each call", loads-1)
	}
}

// TestChecksAreBounded: an account whose checks took more than their share
// waits, and another does not.
func TestChecksAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	g := NewGuard(func(context.Context, tenant.UID, function.Digest) ([]byte, error) { return []byte(`true`), nil }, func() time.Time { return now })
	check := func(payer tenant.AccountID) error {
		_, err := g.Check(t.Context(), payer, target("acme", "d"), []byte(`{}`))
		return err
	}
	if err := check("1"); err != nil {
		t.Fatal(err)
	}
	// What begins at once is charged at once: not all of it begins.
	begun := 0
	for ; begun < 1000; begun++ {
		if g.enter(g.account("3"), 10*time.Millisecond) != nil {
			break
		}
	}
	if begun < 100 || begun > 102 {
		t.Errorf("%d checks of 10 ms began at once, want a second's worth", begun)
	}
	g.pay(g.accounts["1"], 3*time.Second) // two over the burst
	err := check("1")
	if f := fault.From("", err); err == nil || f.Kind != fault.Throttled || f.RetryAfter <= 7*time.Second || f.RetryAfter > 9*time.Second {
		t.Errorf("over the share: %+v", f)
	}
	if err := check("2"); err != nil {
		t.Errorf("another account: %v", err)
	}
	now = now.Add(9 * time.Second)
	if err := check("1"); err != nil {
		t.Errorf("once it is paid for: %v", err)
	}
}

// TestCompiledSchemasAreBounded: an account keeps so much memory of compiled
// schemas, and does not push out another's.
func TestCompiledSchemasAreBounded(t *testing.T) {
	g := NewGuard(func(_ context.Context, _ tenant.UID, digest function.Digest) ([]byte, error) {
		return []byte(`{"title":"` + strings.Repeat("x", 60_000) + string(digest) + `"}`), nil
	}, time.Now)
	var wg sync.WaitGroup
	if _, err := g.Check(t.Context(), "2", target("globex", "d"), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		wg.Go(func() {
			if _, err := g.Check(t.Context(), tenant.AccountID(fmt.Sprint(10+i)), target("acme", fmt.Sprint(i)), []byte(`{}`)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int64
	for k, e := range g.compiled {
		if k.owner == "acme" {
			sum += e.size
		}
	}
	if sum > accountBytes || sum == 0 || g.compiled[key{"globex", "d"}] == nil {
		t.Errorf("%d bytes are kept of an account that may have %d; the other's is there: %v", sum, accountBytes, g.compiled[key{"globex", "d"}] != nil)
	}
}
