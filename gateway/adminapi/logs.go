package adminapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/observe/logs"
	"github.com/carrel-dev/carrel/tenant"
)

// LogEntry is what a function printed in one call.
type LogEntry struct {
	RequestID   string             `json:"requestId"`
	TenantID    string             `json:"tenantId" doc:"The end tenant if the call named one, else the account's tenant"`
	EndTenant   tenant.EndTenantID `json:"endTenant,omitempty"`
	Version     string             `json:"version"`
	Time        time.Time          `json:"time" doc:"When the call was received"`
	Outcome     string             `json:"outcome" example:"ok"`
	ColdStart   bool               `json:"coldStart"`
	InitMS      string             `json:"initMs" doc:"Milliseconds, decimal"`
	DurationMS  string             `json:"durationMs" doc:"Milliseconds, decimal"`
	BilledMS    int64              `json:"billedMs"`
	MemoryMB    int                `json:"memoryMB"`
	MaxMemoryMB int64              `json:"maxMemoryMB"`
	Text        string             `json:"text" doc:"What the function printed"`
}

// LogPage is a part of a function's log, oldest first.
type LogPage struct {
	Entries []LogEntry `json:"entries" nullable:"false"`
	Next    uint64     `json:"next" doc:"Give it as from to go on"`
	More    bool       `json:"more" doc:"Whether there is a next part already"`
}

type logsInput struct {
	Name  string    `path:"name" maxLength:"129" doc:"Name of the function; FUNCTION@TENANT for one that is derived for an end tenant"`
	From  uint64    `query:"from" doc:"next of the answer before; leave out for the oldest entries"`
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many entries are wanted; there may be some more, since they are kept in blocks"`
	Wait  int       `query:"wait" minimum:"0" maximum:"20" doc:"Seconds to wait for entries if there are none"`
	Since time.Time `query:"since" doc:"Leave out calls before this time"`
}

func (h *handler) logs() {
	register(h, operation{id: "GetFunctionLogs", method: http.MethodGet, path: "/v1/functions/{name}/logs",
		summary: "Read a function's log, and wait for more of it"}, h.functionLogs)
}

func (h *handler) functionLogs(ctx context.Context, in *logsInput) (*reply[LogPage], error) {
	name := function.Name(in.Name)
	_, err := function.ParseName(in.Name)
	if strings.Contains(in.Name, "@") {
		_, _, err = function.ParseInstanceName(in.Name)
	}
	if err != nil {
		return nil, fault.New("adminapi.logs", fault.Invalid, "%v.", err).WithCode(codeValidation)
	}
	account := sessionOf(ctx).principal.Account
	if in.Wait > 0 {
		leave, err := h.polls.enter(ctx, account)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	timeout := time.NewTimer(time.Duration(in.Wait) * time.Second)
	defer timeout.Stop()
	for {
		// Decided anew each time: who was suspended meanwhile reads no more.
		q, news, g, err := h.logQuery(ctx, name)
		if err != nil {
			return nil, err
		}
		q.From, q.Limit = in.From, in.Limit
		page, err := h.Logs.Read(g, q)
		if err != nil {
			return nil, err
		}
		out := showLog(page, in.Since)
		if len(out.Entries) > 0 || page.More || in.Wait == 0 {
			return &reply[LogPage]{out}, nil
		}
		in.From = page.Next
		select {
		case <-news:
		case <-timeout.C:
			return &reply[LogPage]{out}, nil
		case <-h.polls.stopping:
			return &reply[LogPage]{out}, nil
		case <-ctx.Done():
			return &reply[LogPage]{out}, nil // to nobody: the caller went away
		}
	}
}

// logQuery authorises and finds what to read. The channel is taken before
// the log is read, so that nothing written in between is missed.
func (h *handler) logQuery(ctx context.Context, name function.Name) (logs.Query, <-chan struct{}, iam.Grant, error) {
	account := sessionOf(ctx).principal.Account
	arn := function.ARN(h.Region, account, name, "")
	g, err := h.decide(ctx, question{logs.ReadAction, arn, account})
	if err != nil {
		return logs.Query{}, nil, g, err
	}
	find, err := h.decide(ctx, question{control.ActionGetFunction, arn, account})
	if err != nil {
		return logs.Query{}, nil, g, err
	}
	uid, err := h.logged(ctx, find, name)
	if err != nil {
		return logs.Query{}, nil, g, err
	}
	t, known := h.Control.Account(account)
	if !known {
		return logs.Query{}, nil, g, fault.New("adminapi.logs", fault.NotFound, "The account %s is gone.", account)
	}
	return logs.Query{ARN: arn, Function: uid}, h.Logs.News(t.UID, uid), g, nil
}

// logged gives the internal id of the function, or derived function, whose log
// is asked for.
func (h *handler) logged(ctx context.Context, g iam.Grant, name function.Name) (tenant.UID, error) {
	if strings.Contains(string(name), "@") {
		v, err := h.Control.GetInstance(ctx, g, string(name))
		return v.UID, err
	}
	f, err := h.Control.GetFunction(ctx, g, name, "")
	return f.Function.UID, err
}

func showLog(page logs.Page, since time.Time) LogPage {
	out := LogPage{Entries: make([]LogEntry, 0, len(page.Entries)), Next: page.Next, More: page.More}
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Received.Before(since) {
			continue
		}
		out.Entries = append(out.Entries, LogEntry{
			RequestID: e.RequestID, TenantID: e.Tenant, EndTenant: e.EndTenant, Version: e.Version,
			Time: e.Received, Outcome: e.Result, ColdStart: e.Usage.Cold,
			InitMS: decimalMS(e.Usage.Init), DurationMS: decimalMS(e.Usage.Duration), BilledMS: e.Usage.BilledMS(),
			MemoryMB: e.MemoryMB, MaxMemoryMB: megabytes(e.Usage.MaxMemory), Text: e.Text,
		})
	}
	return out
}

// maxPolls is how many requests of one account may wait for its logs at
// once: each holds a connection.
const maxPolls = 16

// pollers counts the waiting requests of each account.
type pollers struct {
	mu      sync.Mutex
	waiting map[tenant.AccountID]int
	// stopping is closed when the server that runs the handler begins to
	// shut down, so that a waiting request does not hold it up.
	stopping chan struct{}
	watch    sync.Once
}

func newPollers() *pollers {
	return &pollers{waiting: map[tenant.AccountID]int{}, stopping: make(chan struct{})}
}

func (p *pollers) enter(ctx context.Context, account tenant.AccountID) (leave func(), err error) {
	if s, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
		p.watch.Do(func() { s.RegisterOnShutdown(sync.OnceFunc(func() { close(p.stopping) })) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[account] >= maxPolls {
		e := fault.New("adminapi.logs", fault.Throttled, "%d requests of this account wait for logs already.", maxPolls).
			WithRemedy("End one of them, or ask without wait.")
		e.RetryAfter = time.Second
		return nil, e
	}
	p.waiting[account]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.waiting[account]--; p.waiting[account] == 0 {
			delete(p.waiting, account)
		}
	}, nil
}
