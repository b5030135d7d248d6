package iam

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestSessionPoliciesThatAreKeptAreBounded: a caller can make as many
// sessions with different policies as it likes.
func TestSessionPoliciesThatAreKeptAreBounded(t *testing.T) {
	t.Parallel()
	var s sessionSets
	statements := strings.Repeat(`,{"Effect":"Deny","Action":"*","Resource":"*"}`, 30)
	most := 0
	for i := range 2 * mostSessionParts / 90 {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get%d","Resource":"*"}%s]}`, i, statements)
		set, err := s.compiled("cap", text)
		if again, _ := s.compiled("cap", text); err != nil || again != set {
			t.Fatalf("the latest is not kept: %v", err)
		}
		if i%50 != 0 {
			continue
		}
		kept := 0
		for _, sets := range []map[[sha256.Size]byte]sessionSet{s.young, s.old} {
			for _, k := range sets {
				kept += k.parts
			}
		}
		most = max(most, kept)
	}
	if most > mostSessionParts+200 || most < mostSessionParts/2 {
		t.Errorf("%d parts are kept, %d are meant", most, mostSessionParts)
	}
}
