package events

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/internal/journal"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// KindEvent is the kind of an accepted event on the journal.
const KindEvent journal.Kind = 32

// schema is that of events; 1 knew no sessions, and of a principal only ARN,
// account and access key.
const schema = 2

// acceptedSchema is that of records of KindEvent.
const acceptedSchema = 1

// Bounds of what a stored record may claim.
const (
	maxAttempt = 1 << 30
	maxCause   = 512 // bytes of an error's text
)

// event is everything that a later run needs. It is stored sealed only.
type event struct {
	RequestID string
	// Attempt is the number of the next attempt, also where there will be none.
	Attempt int
	// Failures counts the attempts at which the function itself failed.
	Failures    int
	Account     tenant.AccountID
	EndTenant   tenant.UID
	EndTenantID tenant.EndTenantID
	FunctionUID tenant.UID
	Function    function.Name
	Qualifier   string
	// Principal is who sent it, with session and origin, as the credential
	// proved it then.
	Principal call.Principal
	Received  time.Time
	ClientCtx string
	Chain     []call.Link
	Cause     string    // how the last attempt ended
	Died      time.Time // when it was given up; zero while it waits
	Payload   []byte
}

func newEvent(c *call.Call) event {
	return event{
		RequestID: c.RequestID, Attempt: 1, Account: c.Owner.Account,
		EndTenant: c.Owner.EndTenant, EndTenantID: c.EndTenant,
		FunctionUID: c.Target.FunctionUID, Function: c.Target.Name, Qualifier: c.Target.Qualifier,
		Principal: c.Principal, Received: c.Received, ClientCtx: c.ClientContext, Chain: c.Chain, Payload: c.Event,
	}
}

func (e *event) append(b []byte) []byte {
	b = fields.Uint(b, schema)
	b = fields.Text(b, e.RequestID)
	b = fields.Uint(b, uint64(e.Attempt))
	b = fields.Uint(b, uint64(e.Failures))
	b = fields.Text(b, e.Account)
	b = fields.Text(b, e.EndTenant)
	b = fields.Text(b, e.EndTenantID)
	b = fields.Text(b, e.FunctionUID)
	b = fields.Text(b, e.Function)
	b = fields.Text(b, e.Qualifier)
	b = fields.Text(b, e.Principal.ARN)
	b = fields.Text(b, e.Principal.Account)
	b = fields.Text(b, e.Principal.AccessKeyID)
	b = fields.Int(b, e.Received.UnixNano())
	b = fields.Text(b, e.ClientCtx)
	b = fields.Uint(b, uint64(len(e.Chain)))
	for _, l := range e.Chain {
		b = fields.Text(b, encode(l))
	}
	b = fields.Text(b, e.Cause)
	died := int64(0)
	if !e.Died.IsZero() {
		died = e.Died.UnixNano()
	}
	b = fields.Int(b, died)
	b = fields.Text(b, e.Payload)
	return fields.Text(b, encode(e.Principal))
}

// encode gives a principal or a link as JSON.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("events: texts and times cannot be encoded: " + err.Error())
	}
	return text
}

// decode reads what encode gave, and nothing more: a member that is not known
// may be one that takes rights away.
func decode(text []byte, v any) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

func decodeEvent(b []byte) (event, error) {
	r, version, err := fields.Read(b, schema)
	if err != nil {
		return event{}, err
	}
	e := event{
		RequestID: r.Text(), Attempt: int(r.Uint()), Failures: int(r.Uint()),
		Account: tenant.AccountID(r.Text()), EndTenant: tenant.UID(r.Text()), EndTenantID: tenant.EndTenantID(r.Text()),
		FunctionUID: tenant.UID(r.Text()), Function: function.Name(r.Text()), Qualifier: r.Text(),
		Principal: call.Principal{Type: call.TypeUser, ARN: r.Text(), Account: tenant.AccountID(r.Text()), AccessKeyID: r.Text()},
		Received:  time.Unix(0, r.Int()).UTC(), ClientCtx: r.Text(),
	}
	links := r.Uint()
	if links > call.MaxChain {
		r.Fail()
		links = 0
	}
	for range links {
		var l call.Link
		if !decode(r.Bytes(), &l) {
			r.Fail()
		}
		e.Chain = append(e.Chain, l)
	}
	e.Cause = r.Text()
	if died := r.Int(); died != 0 {
		e.Died = time.Unix(0, died).UTC()
	}
	e.Payload = r.Bytes()
	known := e.Principal
	// JSON holds no other text: one like this was never anybody's.
	if !utf8.ValidString(known.ARN) || !utf8.ValidString(string(known.Account)) || !utf8.ValidString(known.AccessKeyID) {
		r.Fail()
	}
	if version >= 2 {
		e.Principal = call.Principal{}
		if !decode(r.Bytes(), &e.Principal) || !sameCredential(&e.Principal, &known) {
			r.Fail()
		}
	}
	if e.Attempt < 1 || e.Attempt > maxAttempt || e.Failures < 0 || e.Failures > e.Attempt {
		r.Fail()
	}
	return e, r.Done()
}

// sameCredential tells whether two principals are one, with one credential.
func sameCredential(p, q *call.Principal) bool {
	return p.ARN == q.ARN && p.Account == q.Account && p.AccessKeyID == q.AccessKeyID
}

// head is what stands beside a stored event in the clear, so that the list of
// what waits can be rebuilt without opening anything. Ids of our own making,
// numbers and times: nothing of a tenant's. What it says is checked against
// the sealed event before it is acted on.
type head struct {
	id        string
	account   tenant.AccountID
	endTenant tenant.UID
	attempt   int
	failures  int
	received  time.Time
	due       time.Time
}

func (e *event) head(due time.Time) head {
	return head{
		id: e.RequestID, account: e.Account, endTenant: e.EndTenant,
		attempt: e.Attempt, failures: e.Failures, received: e.Received, due: due,
	}
}

// String gives the text that parseHead reads.
func (h head) String() string {
	return strings.Join([]string{
		"1", h.id, string(h.account), string(h.endTenant), strconv.Itoa(h.attempt), strconv.Itoa(h.failures),
		strconv.FormatInt(h.received.UnixNano(), 10), strconv.FormatInt(h.due.UnixNano(), 10),
	}, " ")
}

func parseHead(s string) (head, error) {
	parts := strings.Split(s, " ")
	if len(parts) != 8 || parts[0] != "1" || parts[1] == "" || len(parts[1]) > 128 {
		return head{}, fields.ErrMalformed
	}
	account, err := tenant.ParseAccountID(parts[2])
	if err != nil {
		return head{}, fields.ErrMalformed
	}
	if parts[3] != "" {
		if _, err := tenant.ParseUID(parts[3]); err != nil {
			return head{}, fields.ErrMalformed
		}
	}
	var numbers [4]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(parts[4+i], 10, 64); err != nil {
			return head{}, fields.ErrMalformed
		}
	}
	if numbers[0] < 1 || numbers[0] > maxAttempt || numbers[1] < 0 || numbers[1] > numbers[0] {
		return head{}, fields.ErrMalformed
	}
	return head{
		id: parts[1], account: account, endTenant: tenant.UID(parts[3]), attempt: int(numbers[0]), failures: int(numbers[1]),
		received: time.Unix(0, numbers[2]).UTC(), due: time.Unix(0, numbers[3]).UTC(),
	}, nil
}

// accepted is an event on its way from the journal to the stream.
type accepted struct {
	owner  tenant.UID
	head   head
	sealed []byte
}

func (a *accepted) append(b []byte) []byte {
	b = fields.Uint(b, acceptedSchema)
	b = fields.Text(b, a.owner)
	b = fields.Text(b, a.head.String())
	return fields.Text(b, a.sealed)
}

// decodeAccepted reads a record of KindEvent. What it gives does not point into b.
func decodeAccepted(b []byte) (accepted, error) {
	r, _, err := fields.Read(b, acceptedSchema)
	if err != nil {
		return accepted{}, err
	}
	owner, err := tenant.ParseUID(r.Text())
	if err != nil {
		return accepted{}, fields.ErrMalformed
	}
	h, err := parseHead(r.Text())
	if err != nil {
		return accepted{}, err
	}
	sealed := append([]byte(nil), r.Bytes()...)
	return accepted{owner, h, sealed}, r.Done()
}

// waiting and dead are the labels of an event in either stream. They differ,
// so that a dead letter cannot be put back among those that wait, and an
// earlier attempt cannot stand in for a later one.
func waiting(owner tenant.UID, h *head) secret.Label {
	return secret.Label{Owner: owner, EndTenant: h.endTenant, Kind: secret.Event, ID: h.id, Revision: uint64(h.attempt)}
}

func dead(owner tenant.UID, h *head) secret.Label {
	l := waiting(owner, h)
	l.ID = "dead " + h.id
	return l
}

// open gives the event that was sealed under a label, provided that what
// stands beside it in the clear is true.
func (q *Queue) open(l secret.Label, h *head, sealed []byte) (event, error) {
	plain, err := q.cfg.Keys.Open(l, sealed)
	if err != nil {
		return event{}, err
	}
	e, err := decodeEvent(plain)
	if err != nil {
		return event{}, fault.Wrap("events.open", fault.Internal, err, "a stored event cannot be read")
	}
	if e.RequestID != h.id || e.Account != h.account || e.EndTenant != h.endTenant || e.Attempt != h.attempt {
		return event{}, fault.Wrap("events.open", fault.Internal, secret.ErrAltered, "a stored event is not the one that its header names")
	}
	return e, nil
}
