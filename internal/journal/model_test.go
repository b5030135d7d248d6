//go:build linux

package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/testrounds"
)

// fate is what the model knows about a record.
type fate uint8

const (
	unknown  fate = iota // appended, or its writer died: it may be there
	written              // acknowledged by Write: a kill must not lose it
	durable              // acknowledged by Sync: nothing may lose it
	rejected             // refused for want of space: it must not be there
)

// model is a journal reduced to what was promised.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *crashDisk
	cfg   Config
	j     *Journal
	boots map[string]int // in the order of opening
	text  map[ID]string
	fates map[ID]fate

	cursor  string // as the shipper stored it
	shipped map[ID]bool
}

func TestModelOfCrashes(t *testing.T) {
	rng := testrounds.Rand(t)
	var seen struct{ kills, cuts, torn, full int }
	for range 10 * testrounds.Rounds(t) {
		m := &model{
			t: t, rng: rng, disk: newCrashDisk(rng),
			boots: map[string]int{}, text: map[ID]string{}, fates: map[ID]fate{}, shipped: map[ID]bool{},
			cfg: Config{
				Node: "node-a", Sync: Sync(rng.IntN(2)), SegmentBytes: 300 + rng.Int64N(4000),
				// The background would act at times that no seed repeats.
				SyncInterval: time.Hour,
			},
		}
		if rng.IntN(2) == 0 {
			m.cfg.Sealer = newSealer(t, 1)
		}
		for range 2 + rng.IntN(5) {
			if !m.reopen() {
				continue
			}
			if m.j.Recovery().TornFile != "" {
				seen.torn++
			}
			m.verify()
			m.live()
			power := m.rng.IntN(2) == 0
			m.die(power)
			if power {
				seen.cuts++
			} else {
				seen.kills++
			}
		}
		for !m.reopen() {
			m.revive(false)
		}
		m.verify()
		m.ship()
		m.final()
		for _, f := range m.fates {
			if f == rejected {
				seen.full++
			}
		}
		if err := m.j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%+v", seen)
	if seen.kills == 0 || seen.cuts == 0 || seen.torn == 0 || seen.full == 0 {
		t.Fatalf("these histories test too little: %+v", seen)
	}
}

// reopen opens the journal, perhaps dying on the way. An open that worked
// has made all that it found durable.
func (m *model) reopen() bool {
	m.t.Helper()
	m.disk.fuse = -1
	if m.rng.IntN(3) == 0 {
		m.disk.fuse = m.rng.IntN(20)
	}
	j, err := open(m.disk, m.cfg)
	if err != nil {
		if !errors.Is(err, errCrashed) {
			m.t.Fatalf("open after a crash: %v", err)
		}
		m.revive(m.rng.IntN(2) == 0)
		return false
	}
	m.disk.fuse = -1
	m.j = j
	m.boots[j.bootText] = len(m.boots)
	return true
}

func (m *model) live() {
	if m.rng.IntN(2) == 0 {
		m.disk.fuse = m.rng.IntN(60)
	}
	for range m.rng.IntN(60) {
		switch m.rng.IntN(12) {
		case 0:
			m.disk.mu.Lock()
			m.disk.space = m.rng.Int64N(600)
			m.disk.mu.Unlock()
		case 1, 2:
			m.disk.mu.Lock()
			m.disk.space, m.disk.failCreate = -1, nil
			m.disk.mu.Unlock()
		case 3:
			m.disk.mu.Lock()
			m.disk.failCreate = syscall.EMFILE
			m.disk.mu.Unlock()
		case 4:
			m.ship()
		default:
			m.appendSome()
		}
	}
}

// appendSome appends a few records, waits for one of them in one of the two
// ways, and notes what that promises for it and all before it.
func (m *model) appendSome() {
	var ids []ID
	for range 1 + m.rng.IntN(4) {
		text := strings.Repeat("r", m.rng.IntN(200)) + fmt.Sprint(len(m.text))
		seq := m.j.Append(Kind(len(text)), []byte(text))
		if seq == 0 {
			if m.j.Err() == nil {
				m.t.Fatal("a healthy journal refused a record")
			}
			return
		}
		id := m.j.ID(seq)
		m.text[id] = text
		m.fates[id] = unknown
		ids = append(ids, id)
	}
	for _, id := range ids {
		promise := written
		wait := m.j.Write
		if n := m.rng.IntN(4); n == 0 {
			promise, wait = durable, m.j.Sync
		} else if n == 1 {
			continue // nobody waits for this one
		}
		if m.cfg.Sync == SyncAlways {
			promise = durable
		}
		switch err := wait(id.Seq); {
		case err == nil:
			m.fates[id] = max(m.fates[id], promise)
		case errors.Is(err, ErrNotWritten):
			m.fates[id] = rejected
		case !errors.Is(err, errCrashed):
			m.t.Fatalf("record %v: %v", id, err)
		}
	}
}

func (m *model) die(power bool) {
	if m.rng.IntN(4) == 0 && m.j.Close() == nil {
		// Closed in order: all that was written is durable.
		for id, f := range m.fates {
			if f == written {
				m.fates[id] = durable
			}
		}
	}
	m.disk.mu.Lock()
	m.disk.dead = true // the old journal's goroutine can do no harm now
	m.disk.mu.Unlock()
	m.j.Close()
	m.revive(power)
}

// revive brings the disk back; a power cut takes back what Write promised.
func (m *model) revive(power bool) {
	m.disk.revive(power)
	if power {
		for id, f := range m.fates {
			if f == written {
				m.fates[id] = unknown
			}
		}
	}
}

// verify reads everything and compares it with what was promised.
func (m *model) verify() {
	m.t.Helper()
	got, _ := readAll(m.t, m.j, Cursor{})
	there := map[ID]bool{}
	for i, r := range got {
		if want, ok := m.text[r.id]; !ok || want != r.data || r.kind != Kind(len(want)) {
			m.t.Fatalf("record %v: kind %d data %q, want %q", r.id, r.kind, r.data, want)
		}
		if m.fates[r.id] == rejected {
			m.t.Fatalf("record %v is there though its writer was told that it is not", r.id)
		}
		if i > 0 {
			p := got[i-1].id
			if a, b := m.boots[p.Boot], m.boots[r.id.Boot]; a > b || a == b && p.Seq >= r.id.Seq {
				m.t.Fatalf("record %v follows %v", r.id, p)
			}
		}
		there[r.id] = true
		m.fates[r.id] = durable // Open synced what it found
	}
	for id, f := range m.fates {
		if f >= written && f != rejected && !there[id] && !m.shipped[id] {
			m.t.Fatalf("record %v with fate %d is lost; recovery %+v", id, f, m.j.Recovery())
		}
	}
}

// ship takes what is new, as a shipper with a stored cursor does.
func (m *model) ship() {
	m.t.Helper()
	from, err := ParseCursor(m.cursor)
	if err != nil {
		m.t.Fatal(err)
	}
	limit := m.rng.IntN(40)
	next, err := m.j.Read(from, func(r Record) error {
		if limit--; limit < 0 {
			return Stop
		}
		if m.shipped[r.ID] {
			m.t.Fatalf("record %v is shipped twice", r.ID)
		}
		if m.text[r.ID] != string(r.Data) {
			m.t.Fatalf("shipped %v %q, want %q", r.ID, r.Data, m.text[r.ID])
		}
		m.shipped[r.ID] = true
		return nil
	})
	m.cursor = next.String()
	if err != nil {
		if !errors.Is(err, errCrashed) {
			m.t.Fatalf("read from %v: %v", from, err)
		}
		return
	}
	if m.rng.IntN(2) == 0 {
		if err := m.j.Truncate(next); err != nil && !errors.Is(err, errCrashed) {
			m.t.Fatal(err)
		}
	}
}

// final ships the rest: nothing promised may be missing from what was shipped.
func (m *model) final() {
	m.t.Helper()
	for range len(m.text) + 1 {
		m.ship()
	}
	for id, f := range m.fates {
		if f >= written && f != rejected && !m.shipped[id] {
			m.t.Fatalf("record %v with fate %d was never shipped", id, f)
		}
		if f == rejected && m.shipped[id] {
			m.t.Fatalf("record %v was shipped though its writer was told that it is not there", id)
		}
	}
}

// TestTwoCrashesInARow kills Open at every operation, then kills the next
// Open at every operation, and then cuts the power.
func TestTwoCrashesInARow(t *testing.T) {
	rng := testrounds.Rand(t)
	cfg := Config{Node: "node-a", SyncInterval: time.Hour}
	for first := range 14 {
		for second := range 20 {
			for range 8 {
				d := newCrashDisk(rng)
				j := mustOpen(t, d, cfg)
				seq := put(t, j, "kept")
				if err := j.Sync(seq); err != nil {
					t.Fatal(err)
				}
				for _, fuse := range []int{0, first, second} {
					d.fuse = fuse
					if again, err := open(d, cfg); err == nil {
						d.fuse = 0
						again.Close()
					}
					d.revive(false)
				}
				d.revive(true)
				last, err := open(d, cfg)
				if err != nil {
					t.Fatalf("killed at operations %d and %d: %v", first, second, err)
				}
				got, _ := readAll(t, last, Cursor{})
				equalEntries(t, got, []entryRead{{j.ID(seq), 7, "kept"}})
				if err := last.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
