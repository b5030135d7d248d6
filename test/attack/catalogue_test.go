//go:build linux

package attack

import (
	"context"
	"testing"

	"github.com/carrel-dev/carrel/attack"
)

// TestCatalogue makes every attack that carrel attack makes, on the node of all
// tests.
func TestCatalogue(t *testing.T) {
	w := &shared
	r, err := attack.Open(t.Context(), attack.Config{
		Endpoint: w.node.Endpoint, Region: w.operator.Region, AccessKeyID: w.operator.AccessKeyID, SecretAccessKey: w.operator.SecretAccessKey,
	})
	if r != nil {
		defer func() {
			for _, left := range r.Close(context.Background()) {
				t.Error("not cleaned up:", left)
			}
		}()
	}
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, a := range attack.Catalogue() {
		if !a.Runs() {
			if a.Elsewhere == "" || a.ID == "" || a.Title == "" {
				t.Errorf("%s is neither made nor said to be made elsewhere", a.ID)
			}
			continue
		}
		made++
		t.Run(a.ID, func(t *testing.T) {
			result := r.Make(t.Context(), a)
			t.Logf("%s: %s; %s", result.Tried, result.StoppedBy, result.Evidence)
			if result.Result != attack.Pass {
				t.Errorf("%s (%s): %s: %s", a.ID, a.Title, result.Result, result.Evidence)
			}
		})
	}
	if made < 37 {
		t.Errorf("made %d attacks only", made)
	}
}

// TestAttacksFailWhereNothingAnswers: a node that does nothing passes nothing.
func TestAttacksFailWhereNothingAnswers(t *testing.T) {
	t.Parallel()
	_, err := attack.Open(t.Context(), attack.Config{Endpoint: "http://127.0.0.1:1", Region: "us-east-1", AccessKeyID: "AKIAX", SecretAccessKey: "x"})
	if err == nil {
		t.Error("tenants were made where nothing listens")
	}
}
