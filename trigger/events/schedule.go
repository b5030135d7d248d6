package events

import (
	"container/heap"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/tenant"
)

// entry is one event that waits: what is needed to choose it, not its payload.
type entry struct {
	head
	owner tenant.UID
	// seq is the place of its message in the stream.
	seq  uint64
	size int
	// next is the number of the next attempt: that of the message, or more
	// where attempts did not count as failures of the function.
	next int
	// tries counts the tries in a row that were not the function's fault.
	tries int
	cause string
	// ended is an attempt that ran before the node died, and was recorded: it
	// is not run again but acted upon.
	ended   *call.Result
	running bool
}

// line is what waits of one account.
type line struct {
	account tenant.AccountID
	entries map[string]*entry // by request id
	ready   fifo
	// reserved counts accepted events that did not reach the stream yet.
	reserved int
	bytes    int64
	running  int
	paused   bool
	queued   bool // in the ring or in capped
}

func (l *line) depth() int { return l.reserved + len(l.entries) }

// fifo is a queue whose memory is given back as it empties.
type fifo struct {
	items []*entry
	first int
}

func (f *fifo) len() int { return len(f.items) - f.first }

func (f *fifo) push(e *entry) { f.items = append(f.items, e) }

func (f *fifo) pop() *entry {
	e := f.items[f.first]
	f.items[f.first] = nil
	if f.first++; f.first*2 >= len(f.items) {
		f.items = append([]*entry(nil), f.items[f.first:]...)
		f.first = 0
	}
	return e
}

// timed is something to do at a time: an entry becomes ready, or, if there is
// none, the line goes on.
type timed struct {
	at    time.Time
	line  *line
	entry *entry
}

type timeline []timed

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t timeline) Len() int           { return len(t) }
func (t timeline) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timeline) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timeline) Push(v any)        { *t = append(*t, v.(timed)) }
func (t *timeline) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = timed{}
	*t = old[:len(old)-1]
	return last
}

// schedule chooses which event runs next. Accounts take turns, and each may
// have as many calls as a quarter of the slots that are free at that moment,
// but always one: few accounts with calls that take long leave slots for
// others, and a single busy one is not held to a small fixed share. (This is
// the dynamic threshold that switches share their buffers by.) It holds no
// clock and no lock.
type schedule struct {
	slots     int // calls at once
	perTenant int // of one account
	lines     map[tenant.AccountID]*line
	ring      []*line
	capped    []*line // have ready events and as many calls as they may
	later     timeline
	running   int
	total     int // events of all accounts
}

func newSchedule(slots, perTenant int) *schedule {
	return &schedule{slots: slots, perTenant: perTenant, lines: map[tenant.AccountID]*line{}}
}

func (s *schedule) line(id tenant.AccountID) *line {
	l := s.lines[id]
	if l == nil {
		l = &line{account: id, entries: map[string]*entry{}}
		s.lines[id] = l
	}
	return l
}

// reserve counts an event that is being accepted; release takes it back.
func (s *schedule) reserve(id tenant.AccountID, size int) {
	l := s.line(id)
	l.reserved++
	l.bytes += int64(size)
	s.total++
}

func (s *schedule) release(id tenant.AccountID, size int) {
	l := s.line(id)
	l.reserved--
	l.bytes -= int64(size)
	s.total--
	s.forget(l)
}

// add takes an event that is in the stream. It counts from now on.
func (s *schedule) add(e *entry, now time.Time) {
	l := s.line(e.account)
	l.entries[e.id] = e
	l.bytes += int64(e.size)
	s.total++
	s.wait(l, e, now)
}

func (s *schedule) wait(l *line, e *entry, now time.Time) {
	if e.due.After(now) {
		heap.Push(&s.later, timed{e.due, l, e})
		return
	}
	l.ready.push(e)
	s.enqueue(l)
}

func (s *schedule) enqueue(l *line) {
	if !l.queued && !l.paused && l.ready.len() > 0 {
		l.queued = true
		s.ring = append(s.ring, l)
	}
}

// take gives the next event to run, and marks it as running.
func (s *schedule) take(now time.Time) *entry {
	s.ripen(now)
	for len(s.ring) > 0 && s.running < s.slots {
		l := s.ring[0]
		s.ring[0] = nil
		s.ring = s.ring[1:]
		l.queued = false
		if l.paused || l.ready.len() == 0 {
			continue
		}
		if l.running >= s.share() {
			l.queued = true
			s.capped = append(s.capped, l)
			continue
		}
		e := l.ready.pop()
		e.running = true
		l.running++
		s.running++
		s.enqueue(l)
		return e
	}
	return nil
}

func (s *schedule) share() int { return max(1, min(s.perTenant, (s.slots-s.running)/4)) }

// ripen moves what has become due. A line that was paused twice has two
// entries in the timeline and goes on at the first.
func (s *schedule) ripen(now time.Time) {
	for len(s.later) > 0 && !s.later[0].at.After(now) {
		t := heap.Pop(&s.later).(timed)
		if t.entry != nil {
			t.line.ready.push(t.entry)
		} else {
			t.line.paused = false
		}
		s.enqueue(t.line)
		s.forget(t.line)
	}
}

// due gives when the next event becomes ready; false if none will by itself.
func (s *schedule) due() (time.Time, bool) {
	if len(s.later) == 0 {
		return time.Time{}, false
	}
	return s.later[0].at, true
}

// finish ends a run: the event is gone, or waits for its next try.
func (s *schedule) finish(e *entry, gone bool, now time.Time) {
	l := s.line(e.account)
	e.running = false
	l.running--
	s.running--
	if gone {
		s.remove(l, e)
	} else {
		s.wait(l, e, now)
	}
	// At most as many lines as slots are capped: each has a call running.
	for _, c := range s.capped {
		c.queued = false
		s.enqueue(c)
	}
	s.capped = s.capped[:0]
	s.enqueue(l)
	s.forget(l)
}

func (s *schedule) remove(l *line, e *entry) {
	delete(l.entries, e.id)
	l.bytes -= int64(e.size)
	s.total--
}

// forget drops the line of an account that has nothing any more.
func (s *schedule) forget(l *line) {
	if l.depth() == 0 && l.running == 0 && !l.paused && !l.queued {
		delete(s.lines, l.account)
	}
}

// pause keeps an account's events waiting until a time.
func (s *schedule) pause(id tenant.AccountID, until time.Time) {
	l := s.line(id)
	if l.paused {
		return
	}
	l.paused = true
	heap.Push(&s.later, timed{until, l, nil})
}
