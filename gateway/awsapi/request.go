package awsapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// request is one control operation on its way.
type request struct {
	h  *handler
	r  *http.Request
	id string
	matched
	principal call.Principal
	body      []byte

	// name and qualifier are the function asked for, where the path names one.
	name      function.Name
	qualifier string
	// keys are the condition keys that the operation knows from the request.
	keys []iam.Key
	// grant is the decision for the operation's own action and resource.
	grant iam.Grant
}

// reply is what an operation answers: a status and a value for JSON, or none.
type reply struct {
	status int
	value  any
}

func (rq *request) answer(w http.ResponseWriter) error {
	if err := rq.authorise(); err != nil {
		return err
	}
	rep, err := rq.act(rq)
	if err != nil {
		return err
	}
	if rep.value == nil {
		w.WriteHeader(rep.status)
		return nil
	}
	body, err := json.Marshal(rep.value)
	if err != nil {
		return fault.Wrap("awsapi.answer", fault.Internal, err, "the reply could not be encoded")
	}
	writeJSON(w, rep.status, body)
	return nil
}

// authorise finds the resource in the path and gets the grant for it. An
// operation that names its function in the body does this itself.
func (rq *request) authorise() error {
	if rq.conditions != nil {
		rq.keys = rq.conditions(rq)
	}
	switch rq.scope {
	case inBody:
		return nil
	case onAccount:
		return rq.decide(rq.principal.Account, "*")
	}
	ref, err := rq.reference()
	if err != nil {
		return err
	}
	return rq.authoriseFunction(ref)
}

// reference reads the function that the path names.
func (rq *request) reference() (function.Reference, error) {
	if rq.scope == onResource {
		return functionResource(rq.params[0])
	}
	ref, err := functionReference(rq.params[0])
	if err != nil {
		return ref, err
	}
	if rq.scope == onVersion {
		ref.Qualifier, err = qualifier(rq.r.URL.RawQuery, ref.Qualifier)
		return ref, err
	}
	if ref.Qualifier != "" && ref.Qualifier != function.Latest {
		return ref, fault.New("awsapi."+rq.operation, fault.Invalid,
			"%s works on a function, not on one of its versions or aliases.", rq.operation).
			WithRemedy("Leave the qualifier %s out of the function name.", quoted(ref.Qualifier))
	}
	return ref, nil
}

func (rq *request) authoriseFunction(ref function.Reference) error {
	account, err := ownAccount(rq.h.Region, ref, rq.principal)
	if err != nil {
		return err
	}
	rq.name, rq.qualifier = ref.Name, ref.Qualifier
	return rq.decide(account, ref.Name)
}

// decide gets the grant. For another account the answer is always the same,
// whether that account or function exists or not.
func (rq *request) decide(account tenant.AccountID, name function.Name) error {
	resource := function.ARN(rq.h.Region, account, name, "")
	grant, err := rq.h.Control.Authorise(rq.r.Context(), iam.Request{
		Principal: rq.principal,
		Action:    rq.action(),
		Resource:  resource,
		Owner:     tenant.Identity{Account: account},
		Keys:      rq.keys,
	}, rq.id)
	if err != nil {
		return foreign(err, account, rq.principal, denial{rq.action(), resource})
	}
	rq.grant = grant
	return nil
}

// denial is what was refused.
type denial struct{ action, resource string }

// foreign hides why a request to another account was refused.
func foreign(err error, account tenant.AccountID, p call.Principal, d denial) error {
	if account == p.Account || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal) {
		return err
	}
	return fault.New("awsapi", fault.Denied,
		"User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action",
		p.ARN, d.action, d.resource, d.action).WithCode("AccessDeniedException")
}

// ownAccount gives the account that a reference means, and refuses one in
// another region as AWS does.
func ownAccount(region string, ref function.Reference, p call.Principal) (tenant.AccountID, error) {
	if ref.Region != "" && ref.Region != region {
		return "", fault.New("awsapi", fault.NotFound,
			"Functions from '%s' are not reachable in this region ('%s')", ref.Region, region)
	}
	if ref.Account == "" {
		return p.Account, nil
	}
	return ref.Account, nil
}

// functionReference reads a function name in any of Lambda's forms.
func functionReference(s string) (function.Reference, error) {
	ref, err := function.ParseReference(s)
	if err != nil {
		var v violations
		if len(s) > 256 {
			v.length(s, "functionName", 256)
		} else {
			v.add(quoted(s), "functionName", "Member must satisfy regular expression pattern: "+
				strings.Trim(functionForm.String(), "^$"))
		}
		return ref, v.err()
	}
	return ref, nil
}

// functionResource reads the ARN of a function: the resources that have tags.
func functionResource(s string) (function.Reference, error) {
	ref, err := function.ParseReference(s)
	if err != nil || ref.Region == "" {
		return ref, fault.New("awsapi", fault.Invalid, "The resource %s is not the ARN of a Lambda function.", quoted(s)).
			WithRemedy("Give arn:aws:lambda:REGION:ACCOUNT:function:NAME.")
	}
	if ref.Qualifier != "" {
		return ref, fault.New("awsapi", fault.Invalid,
			"Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return ref, nil
}

// qualifier merges the one in the name with the one in the query.
func qualifier(query, inName string) (string, error) {
	if query == "" {
		return inName, nil
	}
	q, err := queryValue(query, "Qualifier")
	if err != nil || q == "" {
		return inName, err
	}
	if function.CheckQualifier(q) != nil {
		var v violations
		v.add(quoted(q), "qualifier", "Member must satisfy regular expression pattern: [a-zA-Z0-9$_-]+")
		return "", v.err()
	}
	if inName != "" && inName != q {
		return "", fault.New("awsapi", fault.Invalid,
			"The derived qualifier from the function name does not match the specified qualifier.")
	}
	return q, nil
}

// control.Page sizes: AWS answers at most 50 items even if more are asked for.
const (
	defaultItems = 50
	mostItems    = 10_000
	mostMarker   = 2048
)

// page reads Marker and MaxItems.
func (rq *request) page() (control.ListInput, error) {
	in := control.ListInput{MaxItems: defaultItems}
	var err error
	if in.Marker, err = rq.query("Marker"); err != nil {
		return in, err
	}
	items, err := rq.query("MaxItems")
	if err != nil {
		return in, err
	}
	var v violations
	v.length(in.Marker, "marker", mostMarker)
	if items != "" {
		n, err := strconv.Atoi(items)
		if err != nil {
			return in, fault.New("awsapi.page", fault.Invalid, "STRING_VALUE can not be converted to an Integer at 'maxItems'").
				WithCode("SerializationException")
		}
		v.within(&n, "maxItems", 1, mostItems)
		in.MaxItems = min(n, defaultItems)
	}
	return in, v.err()
}

// query gives one query parameter.
func (rq *request) query(name string) (string, error) { return queryValue(rq.r.URL.RawQuery, name) }
