package audit

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Bounds of the refusals of one account's principals that get an entry each.
// Being refused costs a caller nothing and is bounded by no plan, so without
// them a loop of refused requests would fill the disk that all share. Those
// above are counted: none is left out.
const (
	// RefusalRate is how many a second are recorded one by one, averaged.
	RefusalRate = 20
	// RefusalBurst is how many may come at once.
	RefusalBurst = 200
	// refusalWindow is how long refusals are counted before the counts are
	// written: a node that is killed loses at most those of one window.
	refusalWindow = time.Second
)

// refusals are those of one account's principals.
type refusals struct {
	alone *rate.Limiter

	mu sync.Mutex
	// counted has one entry for each sort of refusal of this window, the
	// first of its sort with the number of all. There are as many sorts as
	// actions times codes, which are closed lists.
	counted map[kindOf]*Entry
}

type kindOf struct {
	principal, accessKey string
	owner                tenant.AccountID
	action, kind, code   string
}

// mostSorts bounds the sorts of a window; the rest shares one entry. A
// caller can name a million accounts.
const mostSorts = 32

// Refuse records a refused request. It does not hold the refusal up if that
// fails: the journal itself makes the node unready. Beyond RefusalRate the
// refusals of a window that are alike share one entry, which has their Count.
func (l *Log) Refuse(_ context.Context, r iam.Request, requestID string, cause error) {
	e := l.newEntry(r, requestID, "refused", cause)
	v, found := l.refusals.Load(r.Principal.Account)
	if !found {
		v, _ = l.refusals.LoadOrStore(r.Principal.Account, &refusals{alone: rate.NewLimiter(RefusalRate, RefusalBurst)})
	}
	of := v.(*refusals)
	if of.alone.AllowN(e.At, 1) {
		l.journal.Append(KindRefusal, encode(e))
		return
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.counted == nil {
		of.counted = map[kindOf]*Entry{}
		time.AfterFunc(refusalWindow, func() { l.flush(of) })
	}
	key := kindOf{e.Principal, e.AccessKey, e.Account, e.Action, e.Kind, e.Code}
	if len(of.counted) >= mostSorts && of.counted[key] == nil {
		key = kindOf{}
	}
	if of.counted[key] == nil {
		of.counted[key] = &e
	}
	of.counted[key].Count++
}

// Flush writes the counts of refusals that are not on the journal yet. A node
// calls it before it closes the journal.
func (l *Log) Flush() {
	l.refusals.Range(func(_, v any) bool {
		l.flush(v.(*refusals))
		return true
	})
}

func (l *Log) flush(of *refusals) {
	of.mu.Lock()
	counted := of.counted
	of.counted = nil
	of.mu.Unlock()
	for _, e := range counted {
		l.journal.Append(KindRefusal, encode(*e))
	}
}
