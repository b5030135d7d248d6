package attack

import (
	"context"
	"fmt"
	"sync"
)

// fairness are the attacks that use up what others need.
func fairness() []Attack {
	return []Attack{
		{ID: "A74", Title: "files in /tmp of a size that is not there", Defence: "a greatest size of files", run: fillTmp},
		{ID: "A86", Title: "memory pressure beside another tenant's calls", Defence: "a memory limit for each call and each worker", run: pressure, alone: true},
	}
}

func fillTmp(ctx context.Context, t *try) error {
	p := &probe{}
	at, n := p.str("large")
	const write = int64(1<<6 | 1<<8 | 1<<22)
	p.call("path_open", 3, 0, at, n, 1, write, int64(0), 0, roomAt)
	small := p.named("4 KiB", "fd_filestat_set_size", loaded(roomAt), int64(4096))
	// Holes cost nothing, so that a size below the greatest may be set.
	for _, shift := range []int{40, 62} {
		p.named(fmt.Sprintf("a size of 1<<%d", shift), "fd_filestat_set_size", loaded(roomAt), int64(1)<<shift)
		p.named(fmt.Sprintf("room for 1<<%d", shift), "fd_allocate", loaded(roomAt), int64(0), int64(1)<<shift)
	}
	got, err := t.run(ctx, "", p)
	if err != nil {
		return err
	}
	t.twin(got.result(0) == 0 && got.result(small) == 0, "a small file: errno %d and %d", got.result(0), got.result(small))
	for i := small + 1; i < len(p.calls); i++ {
		t.holds(got.result(i) != 0, fmt.Sprintf("errno %d", got.result(i)), "%s was given", p.calls[i])
	}
	return nil
}

func pressure(ctx context.Context, t *try) error {
	var hogs sync.WaitGroup
	for range 3 {
		hogs.Go(func() {
			for range 3 {
				t.ended("a call that takes all memory", t.invoke(ctx, t.A, tool, command(doEat, "")), "Runtime.OutOfMemory")
			}
		})
	}
	for range 10 {
		t.works(ctx, t.B, tool)
	}
	hogs.Wait()
	t.works(ctx, t.A, tool)
	return nil
}
