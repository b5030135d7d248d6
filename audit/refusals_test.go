package audit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// TestRefusalsInALoopAreCountedAndDoNotFillTheJournal: whoever is refused in
// a loop leaves a bounded trace, of which nothing is missing; the refusals of
// another account keep their own entries.
func TestRefusalsInALoopAreCountedAndDoNotFillTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		l := New(r, time.Now)
		refused := fault.New("test", fault.Denied, "no").WithCode("AccessDeniedException")
		const attempts = 50_000
		for i := range attempts {
			l.Refuse(context.Background(), iam.Request{
				Principal: principal(), Action: "lambda:InvokeFunction", Resource: "arn",
				Owner: tenant.Identity{Account: tenant.AccountID(fmt.Sprintf("%012d", i))}, // a new victim each time
			}, "id", refused)
		}
		other := principal()
		other.Account = "222222222222"
		l.Refuse(context.Background(), iam.Request{Principal: other, Action: "lambda:GetFunction", Resource: "arn"}, "globex", refused)
		time.Sleep(2 * refusalWindow) //lint:allow sleep the clock is the bubble's
		synctest.Wait()

		if most := RefusalBurst + mostSorts + 2; len(r.records) > most {
			t.Errorf("%d refusals made %d records, more than %d", attempts, len(r.records), most)
		}
		var count int64
		alone := false
		for _, rec := range r.records {
			e, err := DecodeEntry(rec.Data)
			if err != nil || rec.Kind != KindRefusal {
				t.Fatal(rec.Kind, err)
			}
			alone = alone || e.RequestID == "globex" && e.Count == 0
			count += max(e.Count, 1)
		}
		if count != attempts+1 || !alone {
			t.Errorf("the records stand for %d refusals of %d; the other account has its own: %v", count, attempts+1, alone)
		}
	})
}

func TestFlushWritesTheCountsOfAStoppingNode(t *testing.T) {
	l, r := newLog()
	for range RefusalBurst + 5 {
		l.Refuse(context.Background(), iam.Request{Principal: principal(), Action: "a"}, "id", fault.New("test", fault.Denied, "no"))
	}
	if len(r.records) != RefusalBurst {
		t.Fatalf("%d records before Flush, want %d", len(r.records), RefusalBurst)
	}
	l.Flush()
	l.Flush()
	if len(r.records) != RefusalBurst+1 {
		t.Fatalf("%d records after Flush, want %d", len(r.records), RefusalBurst+1)
	}
	if e, err := DecodeEntry(r.records[RefusalBurst].Data); err != nil || e.Count != 5 {
		t.Errorf("the last entry is %+v, %v; want a count of 5", e, err)
	}
}
