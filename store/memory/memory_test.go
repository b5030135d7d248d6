package memory

import (
	"fmt"
	"testing"

	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.KV { return New() })
}

// What is overwritten all the time must not fill the memory.
func TestLogIsCompacted(t *testing.T) {
	s := New()
	key := storetest.Key(t, "a")
	var r store.Revision
	for i := range 10_000 {
		var err error
		if r, err = s.Update(t.Context(), key, fmt.Append(nil, i), r); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.log) > 100 {
		t.Errorf("%d changes are kept for one key", len(s.log))
	}
}
