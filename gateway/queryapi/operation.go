package queryapi

import (
	"reflect"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// pageInput asks for a part of a list.
type pageInput struct {
	Marker   string `len:"1-320" form:"marker"`
	MaxItems *int   `range:"1-1000"`
}

// operation is one line of a service's table.
type operation struct {
	name string
	// unsigned says that it may be asked for without a signature.
	unsigned bool
	// showsValues says that messages about its parameters repeat their values.
	showsValues bool
	// input is the struct of its parameters; nil where it is not built.
	input reflect.Type
	// serve parses, authorises and acts; nil where it is not built. The output
	// is a struct, or nil if the operation answers nothing.
	serve func(rq *request, form *node) (any, error)
}

// target is what an operation is authorised for.
type target struct {
	// action is the operation's own if it is empty.
	action   string
	resource string
	// owner is the caller's account if it is empty.
	owner tenant.AccountID
	keys  []iam.Key
}

// served is an operation with parameters I: on says what it acts on, and act
// does it with the grant for that.
func served[I any](name string, on func(*request, *I) (target, error), act func(*request, iam.Grant, *I) (any, error)) operation {
	return operation{name: name, input: reflect.TypeFor[I](), serve: func(rq *request, form *node) (any, error) {
		in := new(I)
		if err := decode(rq.operation, form, in); err != nil {
			return nil, err
		}
		t, err := on(rq, in)
		if err != nil {
			return nil, err
		}
		grant, err := rq.authorise(t)
		if err != nil {
			return nil, err
		}
		return act(rq, grant, in)
	}}
}

// open is an operation that every caller may ask for.
func open[I any](name string, act func(*request, *I) (any, error)) operation {
	return operation{name: name, input: reflect.TypeFor[I](), serve: func(rq *request, form *node) (any, error) {
		in := new(I)
		if err := decode(rq.operation, form, in); err != nil {
			return nil, err
		}
		return act(rq, in)
	}}
}

// anyone is an operation that needs no signature: what proves who asks is one
// of its parameters.
func anyone[I any](name string, act func(*request, *I) (any, error)) operation {
	o := open(name, act)
	o.unsigned = true
	return o
}

func (rq *request) authorise(t target) (iam.Grant, error) {
	if t.action == "" {
		t.action = rq.h.api.service + ":" + rq.operation.name
	}
	if t.owner == "" {
		t.owner = rq.principal.Account
	}
	return rq.decide(iam.Request{
		Principal: rq.principal, Action: t.action, Resource: t.resource, Owner: tenant.Identity{Account: t.owner}, Keys: t.keys,
	})
}

// decide gets one grant. Why another account refuses is not told, nor whether
// what was asked about is there.
func (rq *request) decide(r iam.Request) (iam.Grant, error) {
	g, err := rq.h.Control.Authorise(rq.ctx, r, rq.id)
	if err == nil || r.Owner.Account == r.Principal.Account || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal) {
		return g, err
	}
	return g, fault.New("queryapi", fault.Denied, "User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action",
		r.Principal.ARN, r.Action, fault.Clip(r.Resource), r.Action)
}

// decideAll gets the grants of an operation that needs several, in order.
func (rq *request) decideAll(asked []iam.Request) ([]iam.Grant, error) {
	grants := make([]iam.Grant, len(asked))
	for i := range asked {
		g, err := rq.decide(asked[i])
		if err != nil {
			return nil, err
		}
		grants[i] = g
	}
	return grants, nil
}

// newAPI makes a service of its operations and of the names of those that
// are not built.
func newAPI(a api, built []operation, missing []string) *api {
	a.operations = make(map[string]*operation, len(built)+len(missing))
	for i := range built {
		a.operations[built[i].name] = &built[i]
	}
	for _, name := range missing {
		a.operations[name] = &operation{name: name}
	}
	return &a
}
