package token

import (
	"crypto/sha256"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/internal/testrounds"
)

type plainPRF struct{}

func (plainPRF) Sum(data []byte) [32]byte { return sha256.Sum256(append([]byte("secret "), data...)) }

// TestA21CapsCannotBeTakenOffOrMoved has a holder do to a narrowed token what
// it can with all that it knows: the token, but no tag before the last.
func TestA21CapsCannotBeTakenOffOrMoved(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	r := NewRing(plainPRF{}, func() time.Time { return now })
	rng := testrounds.Rand(t)
	for range testrounds.Rounds(t) {
		full := issued(t, r, now)
		tags := [][sha256.Size]byte{full.tag}
		for i := range 2 + rng.IntN(MaxCaps-1) {
			var err error
			if full, err = full.Narrow(Cap{Policy: "cap " + strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
			tags = append(tags, full.tag)
		}
		if _, err := r.OpenBearer(full.Text()); err != nil {
			t.Fatalf("the harmless twin: %v", err)
		}
		n := len(full.caps)
		i, j := rng.IntN(n), rng.IntN(n-1)
		if j >= i {
			j++
		}
		attacks := map[string][][]byte{
			"one taken off":  append(append([][]byte{}, full.caps[:i]...), full.caps[i+1:]...),
			"the last off":   full.caps[:n-1],
			"all taken off":  nil,
			"two changed":    swapped(full.caps, i, j),
			"one twice":      append(append([][]byte{}, full.caps...), full.caps[i])[:min(n+1, MaxCaps)],
			"one said wider": replaced(full.caps, i, Cap{Policy: "*"}.encode()),
			"one made empty": replaced(full.caps, i, nil),
		}
		for name, caps := range attacks {
			if name == "one twice" && len(caps) == n {
				continue // no room for it
			}
			forged := &BearerToken{root: full.root, caps: caps, tag: full.tag}
			if _, err := r.OpenBearer(forged.Text()); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s (of %d caps, %d and %d): error %v", name, n, i, j, err)
			}
		}
		// The control: who has kept an earlier tag can take the caps after it
		// off. It is the dropping of tags that the scheme rests on.
		earlier := &BearerToken{root: full.root, caps: full.caps[:i], tag: tags[i]}
		if c, err := r.OpenBearer(earlier.Text()); err != nil || len(c.Principal.Session.Caps) != i {
			t.Errorf("the control with an earlier tag: %v", err)
		}
	}
}

func issued(t *testing.T, r *Ring, now time.Time) *BearerToken {
	t.Helper()
	s, err := r.IssueBearer(&Claims{
		Principal: call.Principal{ARN: "a", Account: "111111111111", Session: &call.Session{ID: "i", Issued: now, Expires: now.Add(time.Minute)}},
		Audience:  "lambda", Listener: "gateway",
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBearer(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func swapped(caps [][]byte, i, j int) [][]byte {
	out := append([][]byte{}, caps...)
	out[i], out[j] = out[j], out[i]
	return out
}

func replaced(caps [][]byte, i int, by []byte) [][]byte {
	out := append([][]byte{}, caps...)
	out[i] = by
	return out
}

// TestA21RootOfAnotherTokenDoesNotFit puts one token's caps and tag behind
// another's root.
func TestA21RootOfAnotherTokenDoesNotFit(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	r := NewRing(plainPRF{}, func() time.Time { return now })
	a, b := issued(t, r, now), issued(t, r, now)
	if _, err := r.OpenBearer((&BearerToken{root: a.root, tag: b.tag}).Text()); !errors.Is(err, ErrInvalid) {
		t.Errorf("a root with another's tag: %v", err)
	}
	if _, err := r.OpenBearer((&BearerToken{root: a.root, tag: a.tag}).Text()); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
}

// TestKeysOfOtherDaysAreUnknown seals under days around today.
func TestKeysOfOtherDaysAreUnknown(t *testing.T) {
	t.Parallel()
	midday := time.Unix(1_800_000_000, 0).UTC().Truncate(24 * time.Hour).Add(12*time.Hour + 2*time.Minute)
	for days, want := range map[int]bool{-3: false, -2: false, -1: true, 0: true, 1: false} {
		at := midday.AddDate(0, 0, days)
		sealed, _ := NewRing(plainPRF{}, func() time.Time { return at }).seal(Session, []byte("x"))
		r := NewRing(plainPRF{}, func() time.Time { return midday })
		if _, _, err := r.open(Session, sealed); (err == nil) != want {
			t.Errorf("sealed %d days from today: error %v", days, err)
		}
	}
	if n := len(NewRing(plainPRF{}, time.Now).keys); n != 0 {
		t.Errorf("a new ring has %d keys", n)
	}
}

func TestKeysInMemoryAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	r := NewRing(plainPRF{}, func() time.Time { return now })
	for range 100 {
		r.seal(Session, nil)
		now = now.Add(24 * time.Hour)
	}
	if len(r.keys) > mostKeys {
		t.Errorf("%d keys in memory, bound %d", len(r.keys), mostKeys)
	}
}
