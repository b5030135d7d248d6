package tenant

import (
	"strings"
	"testing"
)

func TestNamesAreOfTheirGrammar(t *testing.T) {
	for _, good := range []string{"acme", "a1b", "acme-eu", "a-1", strings.Repeat("a", 32)} {
		if got, err := ParseSlug(good); err != nil || string(got) != good {
			t.Errorf("ParseSlug(%q) = %q, %v", good, got, err)
		}
	}
	// Delimiters, wildcards, case, look-alikes and what is invisible are
	// refused, not changed into something allowed.
	for _, bad := range []string{
		"", "a", "ab-", "-ab", "1ab", "Acme", "aCme", "ac me", "acme.eu", "ac*", "ac>", "ac/me", "ac\\me", "ac%2e", "../a",
		"acmé", "аcme", "acme\u200b", "acme\x00", "ac\nme", "acme\u202e", "İstanbul", strings.Repeat("a", 33), "acme_eu",
	} {
		if got, err := ParseSlug(bad); err == nil {
			t.Errorf("ParseSlug(%q) = %q, want an error", bad, got)
		}
	}
	for _, good := range []string{"a", "A", "0", "blue", "550e8400-e29b-41d4-a716-446655440000", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a_b-c"} {
		if got, err := ParseEndTenantID(good); err != nil || string(got) != good {
			t.Errorf("ParseEndTenantID(%q) = %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "-a", "_a", "a.b", "a*", "a/b", "a:b", "a b", "ä", "a\n", "${x}", strings.Repeat("a", 65)} {
		if got, err := ParseEndTenantID(bad); err == nil {
			t.Errorf("ParseEndTenantID(%q) = %q, want an error", bad, got)
		}
	}
	for _, bad := range []string{"", "12345678901", "1234567890123", "12345678901a", "१२३४५६७८९०१२"} {
		if _, err := ParseAccountID(bad); err == nil {
			t.Errorf("ParseAccountID(%q) was taken", bad)
		}
	}
	if EndTenantID("Blue").Fold() != EndTenantID("bLUE").Fold() {
		t.Error("names that differ only by case do not fold together")
	}
}

func TestInternalIDsAreRandomAndWellFormed(t *testing.T) {
	seen := map[UID]bool{}
	for range 10_000 {
		uid := NewUID()
		if _, err := ParseUID(string(uid)); err != nil || seen[uid] {
			t.Fatalf("%q: %v, seen before: %v", uid, err, seen[uid])
		}
		seen[uid] = true
		if a := NewAccountID(); a[0] == '0' {
			t.Fatalf("account id %s begins with zero", a)
		} else if _, err := ParseAccountID(string(a)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "node", strings.Repeat("A", 26), strings.Repeat("a", 25) + "1", strings.Repeat("a", 27)} {
		if _, err := ParseUID(bad); err == nil {
			t.Errorf("ParseUID(%q) was taken", bad)
		}
	}
}
