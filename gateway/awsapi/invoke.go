package awsapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Headers of Invoke, in the form that net/http's map has them in.
const (
	headerInvocationType  = "X-Amz-Invocation-Type"
	headerLogType         = "X-Amz-Log-Type"
	headerClientContext   = "X-Amz-Client-Context"
	headerTenantID        = "X-Amz-Tenant-Id"
	headerDurable         = "X-Amz-Durable-Execution-Name"
	headerExecutedVersion = "X-Amz-Executed-Version"
	headerFunctionError   = "X-Amz-Function-Error"
	headerLogResult       = "X-Amz-Log-Result"
)

// Values of X-Amz-Invocation-Type and X-Amz-Log-Type.
const (
	typeRequestResponse = "RequestResponse"
	typeEvent           = "Event"
	typeDryRun          = "DryRun"
	logNone             = "None"
	logTail             = "Tail"
)

// mostClientContext is the most bytes of X-Amz-Client-Context, as in Lambda.
const mostClientContext = 3583

// Values of reply headers that are the same for each call are shared: what
// net/http does with a header's slice is read it.
var (
	latestVersion = []string{function.Latest}
	unhandled     = []string{"Unhandled"}
)

var (
	jsonNull    = []byte("null")
	emptyObject = []byte("{}")
)

// invocation is one Invoke request: signed, not yet authorised.
type invocation struct {
	id        string
	name      string // as in the path
	principal call.Principal
	body      []byte
	options   options
	// stream tells that the result is taken in pieces.
	stream bool
	// lent tells that the body may still be read by somebody.
	lent bool
}

// options are what the headers of an Invoke ask for.
type options struct {
	kind          string
	tail          bool
	clientContext string
	endTenant     tenant.EndTenantID
	named         bool // an end tenant was named
}

// invoke serves Invoke. It is the one path whose cost matters, so it works
// on header slices and shares what is the same for every reply.
func (h *handler) invoke(w http.ResponseWriter, r *http.Request, in *invocation) error {
	var err error
	if in.options, err = readOptions(r.Header, r.URL.RawQuery); err != nil {
		return err
	}
	event := in.body
	if in.options.kind == typeEvent && in.stream {
		var v violations
		v.oneOf(in.options.kind, "invocationType", typeRequestResponse, typeDryRun)
		return v.err()
	}
	if in.options.kind == typeEvent && len(event) > h.Limits.EventPayload {
		return h.Limits.ofInvoke(typeEvent).Exceeded()
	}
	if len(event) == 0 {
		event = emptyObject
	} else if !validJSON(event) {
		return fault.New("awsapi.Invoke", fault.Invalid, "Could not parse request body into json: %s", syntaxOf(event)).
			WithCode("InvalidRequestContentException")
	}
	c := &call.Call{
		RequestID: in.id, Attempt: 1, Principal: in.principal, Trigger: call.ViaInvoke, Event: event,
		ClientContext: in.options.clientContext, EndTenant: in.options.endTenant,
		LogTail: in.options.tail, DryRun: in.options.kind == typeDryRun, Received: h.Now(),
	}
	if err := h.target(r, c, in); err != nil {
		return err
	}
	if in.options.kind == typeEvent {
		c.Trigger, c.LogTail = call.ViaEvent, false
		in.lent = true
		if err := h.Invoker.Enqueue(r.Context(), c); err != nil {
			return err
		}
		in.lent = false
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	var to *streamed
	if in.stream && !c.DryRun {
		to = newStreamed(w, c)
		c.Stream = to
	}
	in.lent = true
	outcome := h.Invoker.Invoke(r.Context(), c)
	// A function that ended by itself has read its event; whatever else
	// ended the call may have left somebody reading.
	in.lent = outcome.Err != nil || outcome.Result != call.OK && outcome.Result != call.FunctionError
	if to != nil {
		return to.end(outcome)
	}
	return writeOutcome(w, c, outcome)
}

// target fills in what the call runs and who owns it.
func (h *handler) target(r *http.Request, c *call.Call, in *invocation) error {
	ref, err := invokeReference(in.name)
	if err != nil {
		return err
	}
	if ref.Qualifier, err = qualifier(r.URL.RawQuery, ref.Qualifier); err != nil {
		return err
	}
	account, err := ownAccount(h.Region, ref, in.principal)
	if err != nil {
		return err
	}
	c.Owner.Account = account
	if account != in.principal.Account {
		// Decided before anything of that account is looked at: a caller
		// without a right there cannot learn what exists.
		if _, err := h.decideInvoke(r.Context(), c, function.ARN(h.Region, account, ref.Name, ref.Qualifier)); err != nil {
			return err
		}
	}
	if c.Target, err = h.Control.Resolve(account, ref.Name, ref.Qualifier, h.Roll()); err != nil {
		return err
	}
	if err := c.Target.CheckTenancy("awsapi.Invoke", in.options.named); err != nil {
		return err
	}
	if c.EndTenant == "" || c.DryRun {
		return nil
	}
	uid, known, err := h.Control.FindEndTenant(account, c.EndTenant)
	if err == nil && !known {
		uid, err = h.newEndTenant(r.Context(), c)
	}
	c.Owner.EndTenant = uid
	return err
}

// newEndTenant makes an end tenant, which only an authorised call does.
func (h *handler) newEndTenant(ctx context.Context, c *call.Call) (tenant.UID, error) {
	grant, err := h.decideInvoke(ctx, c, c.Target.Resource())
	if err != nil {
		return "", err
	}
	return h.Control.EndTenant(control.WithRequestID(ctx, c.RequestID), grant, c.EndTenant)
}

func (h *handler) decideInvoke(ctx context.Context, c *call.Call, resource string) (iam.Grant, error) {
	grant, err := h.Control.Authorise(ctx, iam.Request{
		Principal: c.Principal, Action: iam.InvokeAction, Resource: resource,
		Owner: tenant.Identity{Account: c.Owner.Account}, EndTenant: c.EndTenant, Chain: c.Chain,
	}, c.RequestID)
	if err != nil {
		return grant, foreign(err, c.Owner.Account, c.Principal, denial{iam.InvokeAction, resource})
	}
	return grant, nil
}

// invokeReference is functionReference with a shorter way for a bare name.
func invokeReference(s string) (function.Reference, error) {
	if bareName(s) {
		return function.Reference{Name: function.Name(s)}, nil
	}
	return functionReference(s)
}

// bareName tells whether s has the form of function.ParseName.
func bareName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// readOptions reads the headers of an Invoke. A presigned request has them in
// its query, where its signature covers them.
//
// Errors: fault.Invalid with AWS's codes; an option that is there twice is
// refused, because two readers could take different ones.
func readOptions(header http.Header, query string) (options, error) {
	o := options{kind: typeRequestResponse}
	var err error
	read := func(name string) (value string) {
		values := header[name]
		if len(values) > 1 && err == nil {
			err = fault.New("awsapi.Invoke", fault.Invalid, "The header %s is there more than once.", name)
		}
		if len(values) > 0 {
			value = values[0]
		}
		if query == "" || err != nil {
			return value
		}
		var presigned string
		if presigned, err = queryValue(query, name); presigned == "" {
			return value
		}
		if len(values) > 0 {
			err = fault.New("awsapi.Invoke", fault.Invalid, "%s is there as a header and in the query.", name)
		}
		return presigned
	}
	kind, log := read(headerInvocationType), read(headerLogType)
	o.clientContext = read(headerClientContext)
	id, durable := read(headerTenantID), read(headerDurable)
	if err != nil {
		return o, err
	}
	if kind != "" {
		o.kind = kind
	}
	o.tail = log == logTail
	if err := checkKinds(o.kind, log); err != nil {
		return o, err
	}
	if durable != "" {
		return o, fault.New("awsapi.Invoke", fault.Unsupported, "Durable executions are not available in Carrel.").
			WithRemedy("Leave out %s.", headerDurable)
	}
	if o.clientContext != "" {
		if err := checkClientContext(o.clientContext); err != nil {
			return o, err
		}
	}
	if _, named := header[headerTenantID]; named || id != "" {
		o.named = true
		o.endTenant, err = tenant.ParseEndTenantID(id)
		if err != nil {
			var v violations
			v.add(quoted(id), "tenantId", "Member must satisfy regular expression pattern: [A-Za-z0-9][A-Za-z0-9_-]{0,63}")
			return o, v.err()
		}
	}
	return o, nil
}

func checkKinds(kind, log string) error {
	// The usual values are told without collecting anything.
	known := kind == typeRequestResponse || kind == typeEvent || kind == typeDryRun
	if known && (log == "" || log == logNone || log == logTail) {
		return nil
	}
	var v violations
	v.oneOf(kind, "invocationType", typeEvent, typeRequestResponse, typeDryRun)
	if log != "" {
		v.oneOf(log, "logType", logNone, logTail)
	}
	return v.err()
}

// checkClientContext demands base64 of a JSON object.
func checkClientContext(s string) error {
	if len(s) > mostClientContext {
		return fault.New("awsapi.Invoke", fault.Invalid,
			"The client context must be at most %d bytes long; this one has %d.", mostClientContext, len(s)).
			WithCode("InvalidRequestContentException")
	}
	decoded, err := base64.StdEncoding.DecodeString(s)
	if err != nil || !validJSON(decoded) {
		return fault.New("awsapi.Invoke", fault.Invalid, "Client context must be a valid Base64-encoded JSON object.").
			WithCode("InvalidRequestContentException")
	}
	return nil
}

// writeOutcome answers a call that has ended.
func writeOutcome(w http.ResponseWriter, c *call.Call, o *call.Outcome) error {
	if o.Err != nil {
		return o.Err
	}
	header := w.Header()
	if c.Target.Version == function.Latest {
		header[headerExecutedVersion] = latestVersion
	} else {
		header[headerExecutedVersion] = []string{c.Target.Version}
	}
	if c.DryRun {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if !o.FunctionFailed() && o.Result != call.OK {
		return fault.New("awsapi.Invoke", fault.Internal, "a call ended as %s without an error", o.Result)
	}
	if o.FunctionFailed() {
		header[headerFunctionError] = unhandled
	}
	if c.LogTail {
		header[headerLogResult] = []string{base64.StdEncoding.EncodeToString(o.Log)}
	}
	payload := o.Payload
	if len(payload) == 0 {
		payload = jsonNull
	}
	header["Content-Type"] = contentJSON
	header["Content-Length"] = []string{strconv.Itoa(len(payload))}
	w.WriteHeader(http.StatusOK)
	w.Write(payload) // a caller that has gone away is not an error of ours
	return nil
}
