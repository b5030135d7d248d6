package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestKindTravelsThroughWraps(t *testing.T) {
	cause := errors.New("disk")
	e := Wrap("store.Put", Unavailable, cause, "the record of %s was not written", "acme").WithRemedy("Retry.").WithCode("ServiceException")
	outer := fmt.Errorf("while serving: %w", e)
	if KindOf(outer) != Unavailable || !Is(outer, Unavailable) || Is(outer, Denied) || !errors.Is(outer, cause) {
		t.Errorf("kind %v of %v", KindOf(outer), outer)
	}
	if KindOf(cause) != Internal || Is(cause, Internal) {
		t.Error("a foreign error is Internal to KindOf, and no kind of ours to Is")
	}
	if got := e.Text(); got != "the record of acme was not written Retry." || strings.Contains(got, "disk") {
		t.Errorf("an outsider reads %q", got)
	}
	if got := e.Error(); !strings.Contains(got, "store.Put") || !strings.Contains(got, "disk") {
		t.Errorf("the log reads %q", got)
	}
	if From("op", nil) != nil || From("op", outer) != e || From("op", cause).Kind != Internal {
		t.Error("From does not keep an Error and wrap others")
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if name := k.String(); name == "" || seen[name] || strings.HasPrefix(name, "kind(") {
			t.Errorf("kind %d has name %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if Kind(200).String() != "kind(200)" {
		t.Error("an unknown kind has a name")
	}
}

func TestRetrySecondsRoundsUp(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]int64{0: 1, time.Millisecond: 1, time.Second: 1, time.Second + 1: 2} {
		if got := (&Error{RetryAfter: wait}).RetrySeconds(); got != want {
			t.Errorf("%s gives %d, want %d", wait, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	if short, long := Clip("short"), Clip(string(make([]byte, 1000))); short != "short" || len(long) != 259 {
		t.Errorf("%q, %d bytes", short, len(long))
	}
}
