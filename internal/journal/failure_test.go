//go:build linux

package journal

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailedFsyncPoisons(t *testing.T) {
	for _, mode := range []Sync{SyncBackground, SyncAlways} {
		d := newCrashDisk(nil)
		j := mustOpen(t, d, Config{Sync: mode, SyncInterval: quiet})
		first := put(t, j, "before")
		d.failSync = syscall.EIO
		if err := j.Sync(j.Append(1, []byte("lost"))); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("mode %d: %v", mode, err)
		}
		// The kernel would now call the next fsync good: it must not be asked.
		d.failSync = nil
		syncs := d.syncs
		if seq := j.Append(1, nil); seq != 0 {
			t.Fatalf("a failed journal gave out sequence %d", seq)
		}
		for _, err := range []error{j.Write(0), j.Sync(0), j.Write(first), j.Sync(first), j.Err()} {
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("mode %d: after the failure: %v", mode, err)
			}
		}
		if err := j.Close(); !errors.Is(err, ErrFailed) {
			t.Fatalf("close: %v", err)
		}
		if d.syncs != syncs {
			t.Fatal("a failed fsync was tried again")
		}
	}
}

func TestCloseTellsOfItsOwnFailure(t *testing.T) {
	d := newCrashDisk(nil)
	j := mustOpen(t, d, Config{Sync: SyncAlways, SyncInterval: quiet})
	put(t, j, "durable")
	d.failSync = syscall.EIO
	if err := j.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the end mark was not made durable, and Close says %v", err)
	}
}

func TestFailedWritePoisons(t *testing.T) {
	for _, cause := range []string{"write fails", "torn part stays"} {
		d := newCrashDisk(nil)
		j := mustOpen(t, d, Config{SyncInterval: quiet})
		put(t, j, "before")
		if cause == "write fails" {
			d.failWrite = syscall.EIO
		} else {
			d.space, d.failTruncate = 10, syscall.EIO
		}
		if err := j.Write(j.Append(1, []byte("lost"))); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: %v", cause, err)
		}
		d.failWrite, d.failTruncate, d.space = nil, nil, -1
		if j.Append(1, nil) != 0 || !errors.Is(j.Err(), ErrFailed) {
			t.Fatalf("%s: the journal goes on: %v", cause, j.Err())
		}
		closed := j.Close()
		if !errors.Is(closed, ErrFailed) {
			t.Fatal(closed)
		}
		again := mustOpen(t, d, Config{})
		got, _ := readAll(t, again, Cursor{})
		equalEntries(t, got, []entryRead{{j.ID(1), 7, "before"}})
		closeIt(t, again)
	}
}

func TestFullDiskIsNoFailure(t *testing.T) {
	for _, sealer := range []Sealer{nil, newSealer(t, 1)} {
		d := newCrashDisk(nil)
		cfg := Config{Sealer: sealer, SyncInterval: quiet}
		j := mustOpen(t, d, cfg)
		first := put(t, j, "one")
		var lost []uint64
		for space := range int64(60) { // cut at every byte of the frame header and some after
			d.space = space
			lost = append(lost, j.Append(7, []byte("this finds no space and is longer than the space is")))
			if err := j.Write(lost[space]); !errors.Is(err, ErrNotWritten) || !errors.Is(err, ErrDiskFull) {
				t.Fatalf("%d bytes free: %v", space, err)
			}
			d.space = -1
			if space%3 == 0 {
				put(t, j, "between")
			}
		}
		if err := j.Err(); err != nil {
			t.Fatal(err)
		}
		last := put(t, j, "two")
		for _, seq := range lost {
			if err := errors.Join(j.Write(seq)); !errors.Is(err, ErrNotWritten) {
				t.Fatalf("record %d was lost, and later Write says %v", seq, err)
			}
		}
		if err := errors.Join(j.Write(first), j.Sync(last)); err != nil {
			t.Fatal(err)
		}
		if s := j.Stats(); s.Dropped != 60 {
			t.Fatalf("%+v", s)
		}
		closeIt(t, j)
		again := mustOpen(t, d, cfg)
		got, _ := readAll(t, again, Cursor{})
		want := []entryRead{{j.ID(1), 7, "one"}}
		for i := range lost {
			if i%3 == 0 {
				want = append(want, entryRead{j.ID(lost[i] + 1), 7, "between"})
			}
		}
		equalEntries(t, got, append(want, entryRead{j.ID(last), 7, "two"}))
		closeIt(t, again)
	}
}

func TestNextSegmentCannotBeMade(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EMFILE} {
		d := newCrashDisk(nil)
		cfg := Config{SegmentBytes: 400, SyncInterval: quiet}
		j := mustOpen(t, d, cfg)
		text := strings.Repeat("x", 100)
		put(t, j, text)
		d.failCreate = cause
		refused := 0
		for range 5 {
			if err := j.Write(j.Append(7, []byte(text))); errors.Is(err, ErrNotWritten) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused == 0 || len(d.files) != 1 {
			t.Fatalf("%d refused with %d files", refused, len(d.files))
		}
		// A smaller record still fits, where the end mark was taken back.
		put(t, j, "small")
		d.failCreate = nil
		put(t, j, text)
		if len(d.files) != 2 {
			t.Fatalf("%d files", len(d.files))
		}
		got, _ := readAll(t, j, Cursor{})
		closeIt(t, j)
		again := mustOpen(t, d, cfg)
		same, _ := readAll(t, again, Cursor{})
		equalEntries(t, same, got)
		if len(got) != 8-refused {
			t.Fatalf("%d records with %d refused", len(got), refused)
		}
		closeIt(t, again)
	}
}

func TestReserveIsKept(t *testing.T) {
	d := newCrashDisk(nil)
	now := time.Unix(1000, 0)
	j := mustOpen(t, d, Config{Reserve: 1 << 20, SyncInterval: quiet, Now: func() time.Time { return now }})
	put(t, j, "there is space")
	d.free = 1<<20 + 10
	now = now.Add(2 * spaceAge)
	if err := j.Write(j.Append(1, make([]byte, 100))); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("a batch went into the reserve: %v", err)
	}
	d.free = 2 << 20
	put(t, j, "there is space again")
	closeIt(t, j)
}

func TestOldRefusalsStayRefused(t *testing.T) {
	var s spans
	cause := errors.New("full")
	for i := uint64(1); i <= 4*maxSpans; i += 2 {
		s.add(i, i, cause)
	}
	if len(s.list) > maxSpans || s.total != 2*maxSpans {
		t.Fatalf("%d ranges, %d records", len(s.list), s.total)
	}
	for i := uint64(1); i <= 4*maxSpans; i += 2 {
		if s.find(i) == nil {
			t.Fatalf("refusal of %d is forgotten", i)
		}
	}
	if s.find(4*maxSpans) != nil || s.find(4*maxSpans-2) != nil {
		t.Fatal("a recent record counts as refused and was not")
	}
}

func TestOneFsyncServesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newCrashDisk(nil)
		j := mustOpen(t, d, Config{Sync: SyncAlways, SyncInterval: quiet})
		hold := make(chan struct{})
		d.held = hold
		before := d.syncs
		var wg sync.WaitGroup
		call := func() {
			if err := j.Write(j.Append(1, []byte("x"))); err != nil {
				t.Error(err)
			}
		}
		wg.Go(call)
		synctest.Wait() // the first is in its fsync
		for range 100 {
			wg.Go(call)
		}
		synctest.Wait() // all others wait for it to come back
		if got := j.Stats().Settled; got != 0 {
			t.Fatalf("%d records are called durable before the fsync returned", got)
		}
		d.held = nil
		close(hold)
		wg.Wait()
		if got := d.syncs - before; got != 2 {
			t.Fatalf("%d fsyncs, want one for the first record and one for the hundred others", got)
		}
		closeIt(t, j)
	})
}

func TestBackgroundWritesWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, newCrashDisk(nil), Config{})
		start := time.Now()
		_, end := readAll(t, j, Cursor{})
		for i := range 3 {
			seq := j.Append(1, []byte("x"))
			if err := j.Wait(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s := j.Stats(); s.Synced != seq {
				t.Fatalf("%+v: record %d is not durable", s, seq)
			}
			if took := time.Since(start); took != time.Duration(i+1)*DefaultSyncInterval {
				t.Fatalf("record %d was written after %v", seq, took)
			}
			_, end = readAll(t, j, end)
		}
		closeIt(t, j)
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, newCrashDisk(nil), Config{})
		_, end := readAll(t, j, Cursor{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := j.Wait(ctx, end); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("nothing was written, and Wait gives %v", err)
		}
		waiting := make(chan error)
		go func() { waiting <- j.Wait(t.Context(), end) }()
		synctest.Wait()
		closeIt(t, j)
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Fatalf("Wait over Close: %v", err)
		}
		for _, err := range []error{j.Close(), j.Write(j.Append(1, nil))} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if _, err := j.Read(Cursor{}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	})
}
