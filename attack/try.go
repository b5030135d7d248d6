package attack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// most breaches are told of; one is enough to fail.
const mostBreaches = 5

// try is one attack under way. Its methods may be called by many goroutines.
type try struct {
	*Range
	// id begins the names of what the attack makes.
	id string

	mu       sync.Mutex
	answers  map[string]int // what the node answered -> how often
	tries    int
	twins    int
	breaches []string
	notes    []string
	made     []madeFunction
}

type madeFunction struct {
	owner *Tenant
	name  string
}

// breach says that something got through.
func (t *try) breach(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.breaches) < mostBreaches {
		t.breaches = append(t.breaches, cut(fmt.Sprintf(format, args...)))
	}
}

// stopped counts a try that was stopped, and by what.
func (t *try) stopped(by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tries++
	t.answers[by]++
}

// holds counts a try: stopped if it is so, else a breach.
func (t *try) holds(so bool, by, format string, args ...any) bool {
	if so {
		t.stopped(by)
	} else {
		t.breach(format, args...)
	}
	return so
}

// refused counts a request that has to be refused as the client's fault.
func (t *try) refused(what string, a answer) bool {
	return t.holds(a.status >= 400 && a.status <= 499, a.brief(), "%s: %s", what, a)
}

// twin says whether the harmless twin worked.
func (t *try) twin(works bool, format string, args ...any) {
	if !works {
		t.breach("the twin did not work: %s", fmt.Sprintf(format, args...))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.twins++
}

// note adds a measurement to the evidence.
func (t *try) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// cut keeps a text short and in one line.
func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}

// result puts together what came of it.
func (t *try) result(err error) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Result: Pass, Tried: fmt.Sprintf("%d tries, %d twins", t.tries, t.twins)}
	var seen []string
	for _, a := range slices.SortedFunc(maps.Keys(t.answers), func(a, b string) int {
		return max(-1, min(1, t.answers[b]-t.answers[a]))*2 + strings.Compare(a, b)
	}) {
		seen = append(seen, fmt.Sprintf("%s ×%d", a, t.answers[a]))
	}
	if len(seen) > 8 {
		seen = append(seen[:8], "…")
	}
	r.Evidence = strings.Join(append(seen, t.notes...), "; ")
	switch {
	case len(t.breaches) > 0:
		r.Result, r.Evidence = Fail, strings.Join(t.breaches, "; ")
	case err != nil:
		r.Result, r.Evidence = Fail, "the attack could not be made: "+cut(err.Error())
	case t.twins == 0:
		r.Result, r.Evidence = Fail, "the twin did not work: there was none"
	case t.tries == 0:
		r.Result, r.Evidence = Fail, "the attack could not be made: nothing was tried"
	}
	return r
}

// cleanUp deletes the functions that the attack made.
func (t *try) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	t.mu.Lock()
	made := t.made
	t.mu.Unlock()
	for _, f := range made {
		t.call(ctx, f.owner, message{method: "DELETE", path: onFunction(f.name)}) // Close sees what is left
	}
}
