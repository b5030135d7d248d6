package awsapi

import (
	"maps"
	"net/http"
	"slices"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

func (rq *request) named() named {
	return named{rq.h.Region, rq.grant.Request().Owner.Account, rq.name}
}

func createAlias(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	var v violations
	in := rq.aliasInput(o)
	in.Alias = v.required(o.text("Name"), "name")
	v.required(in.Version, "functionVersion")
	if err := v.alias(in, o); err != nil {
		return reply{}, err
	}
	a, err := rq.h.Control.CreateAlias(rq.r.Context(), rq.grant, in)
	return reply{http.StatusCreated, rq.named().alias(a)}, err
}

func updateAlias(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	var v violations
	in := rq.aliasInput(o)
	in.Alias = rq.params[1]
	if err := v.alias(in, o); err != nil {
		return reply{}, err
	}
	a, err := rq.h.Control.UpdateAlias(rq.r.Context(), rq.grant, in)
	return reply{http.StatusOK, rq.named().alias(a)}, err
}

func (rq *request) aliasInput(o object) control.AliasInput {
	in := control.AliasInput{Name: rq.name, Version: o.text("FunctionVersion"), Description: o.text("Description"),
		RevisionID: value(o.text("RevisionId"))}
	if routing := o.child("RoutingConfig"); routing.members != nil {
		in.Weights = routing.weights("AdditionalVersionWeights")
		if in.Weights == nil {
			in.Weights = map[string]float64{} // an empty block takes the weights away
		}
	}
	return in
}

func (v *violations) alias(in control.AliasInput, o object) error {
	if *o.err != nil {
		return *o.err
	}
	if in.Alias != "" || len(v.list) == 0 {
		v.pattern(in.Alias, "name", aliasForm)
		v.length(in.Alias, "name", 128)
	}
	if in.Version != nil {
		v.pattern(*in.Version, "functionVersion", versionForm)
	}
	v.length(value(in.Description), "description", mostDescription)
	return v.err()
}

func getAlias(rq *request) (reply, error) {
	a, err := rq.h.Control.GetAlias(rq.r.Context(), rq.grant, rq.name, rq.params[1])
	return reply{http.StatusOK, rq.named().alias(a)}, err
}

func deleteAlias(rq *request) (reply, error) {
	return reply{status: http.StatusNoContent}, rq.h.Control.DeleteAlias(rq.r.Context(), rq.grant, rq.name, rq.params[1])
}

func listAliases(rq *request) (reply, error) {
	in, err := rq.page()
	if err != nil {
		return reply{}, err
	}
	version, err := rq.query("FunctionVersion")
	if err != nil {
		return reply{}, err
	}
	page, err := rq.h.Control.ListAliases(rq.r.Context(), rq.grant,
		control.ListAliasesInput{Name: rq.name, Version: version, Marker: in.Marker, MaxItems: in.MaxItems})
	out := aliasPage{Aliases: make([]aliasReply, len(page.Items)), NextMarker: page.NextMarker}
	for i, a := range page.Items {
		out.Aliases[i] = rq.named().alias(a)
	}
	return reply{http.StatusOK, out}, err
}

func putConcurrency(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	n := o.integer("ReservedConcurrentExecutions")
	if *o.err != nil {
		return reply{}, *o.err
	}
	var v violations
	if n == nil {
		v.required(nil, "reservedConcurrentExecutions")
	}
	v.within(n, "reservedConcurrentExecutions", 0, mostConcurrency)
	if err := v.err(); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, concurrency{n}}, rq.h.Control.PutConcurrency(rq.r.Context(), rq.grant, rq.name, *n)
}

// recursion is the body of both operations on it.
type recursion struct{ RecursiveLoop string }

func putRecursion(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	loop := o.text("RecursiveLoop")
	if *o.err != nil {
		return reply{}, *o.err
	}
	var v violations
	v.required(loop, "recursiveLoop")
	if err := v.err(); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, recursion{*loop}}, rq.h.Control.PutRecursion(rq.r.Context(), rq.grant, rq.name, *loop)
}

func getRecursion(rq *request) (reply, error) {
	loop, err := rq.h.Control.GetRecursion(rq.r.Context(), rq.grant, rq.name)
	return reply{http.StatusOK, recursion{loop}}, err
}

func getConcurrency(rq *request) (reply, error) {
	n, err := rq.h.Control.GetConcurrency(rq.r.Context(), rq.grant, rq.name)
	return reply{http.StatusOK, concurrency{n}}, err
}

func deleteConcurrency(rq *request) (reply, error) {
	return reply{status: http.StatusNoContent}, rq.h.Control.DeleteConcurrency(rq.r.Context(), rq.grant, rq.name)
}

func listTags(rq *request) (reply, error) {
	tags, err := rq.h.Control.ListTags(rq.r.Context(), rq.grant, rq.name)
	if tags == nil {
		tags = map[string]string{}
	}
	return reply{http.StatusOK, tagsReply{tags}}, err
}

// requestTags gives the condition keys of tags that are to be set.
func requestTags(tags map[string]string) []iam.Key {
	list := make([]call.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, call.Tag{Key: key, Value: tags[key]})
	}
	return iam.RequestTags(list)
}

// tagsOfBody gives the tags that the body sets; none if it is malformed,
// which the operation itself says after it was authorised.
func tagsOfBody(rq *request) []iam.Key {
	o, err := parseBody(rq.body)
	if err != nil {
		return nil
	}
	tags := o.texts("Tags")
	if *o.err != nil {
		return nil
	}
	return requestTags(tags)
}

// tagsOfQuery gives the tags that the query names.
func tagsOfQuery(rq *request) []iam.Key {
	if keys := rq.r.URL.Query()["tagKeys"]; len(keys) > 0 {
		return []iam.Key{iam.TagKeys(keys)}
	}
	return nil
}

func tagResource(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	tags := o.texts("Tags")
	if *o.err != nil {
		return reply{}, *o.err
	}
	var v violations
	if tags == nil {
		v.required(nil, "tags")
	}
	if err := v.err(); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, rq.h.Control.TagResource(rq.r.Context(), rq.grant, rq.name, tags)
}

func untagResource(rq *request) (reply, error) {
	keys := rq.r.URL.Query()["tagKeys"]
	var v violations
	if len(keys) == 0 {
		v.required(nil, "tagKeys")
	}
	if err := v.err(); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, rq.h.Control.UntagResource(rq.r.Context(), rq.grant, rq.name, keys)
}

func getAccountSettings(rq *request) (reply, error) {
	s, err := rq.h.Control.AccountSettings(rq.r.Context(), rq.grant)
	return reply{http.StatusOK, accountReply{
		AccountLimit: accountLimit{CodeSizeUnzipped: s.CodeSizeUnzippedLimit, CodeSizeZipped: s.CodeSizeZippedLimit,
			ConcurrentExecutions: s.Concurrency, TotalCodeSize: s.TotalCodeSizeLimit,
			UnreservedConcurrentExecutions: s.UnreservedConcurrency},
		AccountUsage: accountUsage{FunctionCount: s.FunctionCount, TotalCodeSize: s.TotalCodeSize},
	}}, err
}

// getFunctionCodeSigningConfig says that a function has none: Terraform asks
// for it whatever was configured.
func getFunctionCodeSigningConfig(rq *request) (reply, error) {
	_, err := rq.h.Control.Resolve(rq.grant.Request().Owner.Account, rq.name, "", 0)
	if fault.Is(err, fault.NotFound) {
		return reply{}, err
	}
	return reply{http.StatusOK, codeSigningReply{string(rq.name)}}, nil
}

func putEventConfig(rq *request) (reply, error) {
	in, err := rq.eventConfig()
	if err != nil {
		return reply{}, err
	}
	c, err := rq.h.Control.PutEventConfig(rq.r.Context(), rq.grant, rq.name, in)
	return reply{http.StatusOK, rq.named().eventConfig(c)}, err
}

func updateEventConfig(rq *request) (reply, error) {
	in, err := rq.eventConfig()
	if err != nil {
		return reply{}, err
	}
	c, err := rq.h.Control.UpdateEventConfig(rq.r.Context(), rq.grant, rq.name, in)
	return reply{http.StatusOK, rq.named().eventConfig(c)}, err
}

// eventConfig reads the body; the qualifier defaults to $LATEST.
func (rq *request) eventConfig() (function.EventConfig, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return function.EventConfig{}, err
	}
	to := o.child("DestinationConfig")
	in := function.EventConfig{
		Qualifier:          rq.eventQualifier(),
		MaximumRetries:     o.integer("MaximumRetryAttempts"),
		MaximumEventAgeSec: o.integer("MaximumEventAgeInSeconds"),
		OnSuccess:          value(to.child("OnSuccess").text("Destination")),
		OnFailure:          value(to.child("OnFailure").text("Destination")),
	}
	if *o.err != nil {
		return in, *o.err
	}
	var v violations
	v.within(in.MaximumRetries, "maximumRetryAttempts", 0, mostEventRetries)
	v.within(in.MaximumEventAgeSec, "maximumEventAgeInSeconds", leastEventAge, mostEventAge)
	v.length(in.OnSuccess, "destinationConfig.onSuccess.destination", 350)
	v.length(in.OnFailure, "destinationConfig.onFailure.destination", 350)
	return in, v.err()
}

func (rq *request) eventQualifier() string {
	if rq.qualifier == "" {
		return function.Latest
	}
	return rq.qualifier
}

func getEventConfig(rq *request) (reply, error) {
	c, err := rq.h.Control.GetEventConfig(rq.r.Context(), rq.grant, rq.name, rq.eventQualifier())
	return reply{http.StatusOK, rq.named().eventConfig(c)}, err
}

func deleteEventConfig(rq *request) (reply, error) {
	return reply{status: http.StatusNoContent}, rq.h.Control.DeleteEventConfig(rq.r.Context(), rq.grant, rq.name, rq.eventQualifier())
}

func listEventConfigs(rq *request) (reply, error) {
	in, err := rq.page()
	if err != nil {
		return reply{}, err
	}
	page, err := rq.h.Control.ListEventConfigs(rq.r.Context(), rq.grant, rq.name, in)
	out := eventConfigPage{Configs: make([]eventConfigReply, len(page.Items)), NextMarker: page.NextMarker}
	for i, c := range page.Items {
		out.Configs[i] = rq.named().eventConfig(c)
	}
	return reply{http.StatusOK, out}, err
}
