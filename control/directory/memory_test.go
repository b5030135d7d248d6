package directory

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
)

func policyOf(i int) Text {
	statements := strings.Repeat(`,{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::x*"}`, 80)
	return Text{
		Name: fmt.Sprintf("p%d", i), Kind: policy.Identity,
		Text: fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get%d","Resource":"*"}%s]}`, i, statements),
	}
}

// TestCombinationsOfPoliciesCostLittle has many principals with the same
// policies, each in another combination: a tenant can make thousands of them,
// and must not fill the node's memory with so many copies.
func TestCombinationsOfPoliciesCostLittle(t *testing.T) {
	c := NewCompiler()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	held := make([]*policy.Set, 500)
	for i := range held {
		var texts []Text
		for n := range 10 {
			texts = append(texts, policyOf((i+n*(1+i/50))%50))
		}
		set, ok := c.Compile(texts...)
		if !ok {
			t.Fatal("a policy is refused")
		}
		held[i] = set
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("%d principals with 50 policies take %d MB", len(held), grown>>20)
	}
	runtime.KeepAlive(held)
}

// TestCompilerForgets has texts come by that are in use nowhere.
func TestCompilerForgets(t *testing.T) {
	t.Parallel()
	c := NewCompiler()
	space := strings.Repeat(" ", 20_000)
	for i := range maxKept / 10_000 {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get%d","Resource":"*"}]%s}`, i, space)
		if _, ok := c.Compile(Text{Name: "p", Kind: policy.Identity, Text: text}); !ok {
			t.Fatal("a policy is refused")
		}
		if c.sets.bytes > maxKept || c.documents.bytes > maxKept {
			t.Fatalf("%d and %d bytes are kept", c.sets.bytes, c.documents.bytes)
		}
	}
	sum := 0
	for _, v := range c.sets.values {
		sum += v.bytes
	}
	if sum != c.sets.bytes || sum < maxKept/2 {
		t.Errorf("%d bytes are kept, counted as %d", sum, c.sets.bytes)
	}
	if _, ok := c.Parse(policy.Identity, "no policy"); ok {
		t.Error("what is no policy is not refused")
	}
}
