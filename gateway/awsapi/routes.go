package awsapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/carrel-dev/carrel/iam"
)

// The operations that do not go through control: calls.
const (
	opInvoke       = "Invoke"
	opInvokeStream = "InvokeWithResponseStream"
)

// scope says what an operation acts on, and so what it is authorised for.
type scope uint8

const (
	// onAccount is the account as a whole; its resource is every function.
	onAccount scope = iota
	// onFunction is the function that the first path value names.
	onFunction
	// onVersion is onFunction with a qualifier, in the name or the query.
	onVersion
	// onResource is the function that the path value names by its ARN.
	onResource
	// inBody is a function that only the body names.
	inBody
)

// route is one line of the table of operations.
type route struct {
	method    string
	template  string
	operation string
	scope     scope
	// act serves the operation; nil where it is not built.
	act func(*request) (reply, error)
	// conditions gives the condition keys of the request, before it is decided;
	// nil if it has none of its own.
	conditions func(*request) []iam.Key
	// code says that the body may carry code.
	code bool
	// find is the value that the query parameter find must have.
	find string

	segments []string
}

// action is the name that the operation is authorised under.
func (rt *route) action() string { return "lambda:" + rt.operation }

const functions = "/2015-03-31/functions"

// lambdaRoutes are the operations of Lambda. Those without act are known by
// name, so that whoever asks for one is told what is missing.
func lambdaRoutes() []route {
	return append(servedRoutes(), missingRoutes()...)
}

func servedRoutes() []route {
	const one = functions + "/{FunctionName}"
	const concurrency = "/functions/{FunctionName}/concurrency"
	const recursion = "/2024-08-31/functions/{FunctionName}/recursion-config"
	const events = "/2019-09-25/functions/{FunctionName}/event-invoke-config"
	const address = "/2021-10-31/functions/{FunctionName}/url"
	const tags = "/2017-03-31/tags/{Resource}"
	return []route{
		{method: "POST", template: one + "/invocations", operation: opInvoke, scope: onVersion},
		{method: "POST", template: "/2021-11-15/functions/{FunctionName}/response-streaming-invocations", operation: opInvokeStream, scope: onVersion},

		{method: "POST", template: functions, operation: "CreateFunction", scope: inBody, act: createFunction, code: true},
		{method: "GET", template: functions, operation: "ListFunctions", scope: onAccount, act: listFunctions},
		{method: "GET", template: one, operation: "GetFunction", scope: onVersion, act: getFunction},
		{method: "DELETE", template: one, operation: "DeleteFunction", scope: onVersion, act: deleteFunction},
		{method: "GET", template: one + "/configuration", operation: "GetFunctionConfiguration", scope: onVersion, act: getFunctionConfiguration},
		{method: "PUT", template: one + "/configuration", operation: "UpdateFunctionConfiguration", scope: onFunction, act: updateFunctionConfiguration},
		{method: "PUT", template: one + "/code", operation: "UpdateFunctionCode", scope: onFunction, act: updateFunctionCode, code: true},
		{method: "POST", template: one + "/versions", operation: "PublishVersion", scope: onFunction, act: publishVersion},
		{method: "GET", template: one + "/versions", operation: "ListVersionsByFunction", scope: onFunction, act: listVersions},

		{method: "POST", template: one + "/aliases", operation: "CreateAlias", scope: onFunction, act: createAlias},
		{method: "GET", template: one + "/aliases", operation: "ListAliases", scope: onFunction, act: listAliases},
		{method: "GET", template: one + "/aliases/{Name}", operation: "GetAlias", scope: onFunction, act: getAlias},
		{method: "PUT", template: one + "/aliases/{Name}", operation: "UpdateAlias", scope: onFunction, act: updateAlias},
		{method: "DELETE", template: one + "/aliases/{Name}", operation: "DeleteAlias", scope: onFunction, act: deleteAlias},

		{method: "PUT", template: "/2017-10-31" + concurrency, operation: "PutFunctionConcurrency", scope: onFunction, act: putConcurrency},
		{method: "PUT", template: recursion, operation: "PutFunctionRecursionConfig", scope: onFunction, act: putRecursion},
		{method: "GET", template: recursion, operation: "GetFunctionRecursionConfig", scope: onFunction, act: getRecursion},
		{method: "GET", template: "/2019-09-30" + concurrency, operation: "GetFunctionConcurrency", scope: onFunction, act: getConcurrency},
		{method: "DELETE", template: "/2017-10-31" + concurrency, operation: "DeleteFunctionConcurrency", scope: onFunction, act: deleteConcurrency},

		{method: "PUT", template: events, operation: "PutFunctionEventInvokeConfig", scope: onVersion, act: putEventConfig},
		{method: "POST", template: events, operation: "UpdateFunctionEventInvokeConfig", scope: onVersion, act: updateEventConfig},
		{method: "GET", template: events, operation: "GetFunctionEventInvokeConfig", scope: onVersion, act: getEventConfig},
		{method: "DELETE", template: events, operation: "DeleteFunctionEventInvokeConfig", scope: onVersion, act: deleteEventConfig},
		{method: "GET", template: events + "/list", operation: "ListFunctionEventInvokeConfigs", scope: onFunction, act: listEventConfigs},

		{method: "POST", template: address, operation: "CreateFunctionUrlConfig", scope: onVersion, act: createURL, conditions: urlKeys},
		{method: "GET", template: address, operation: "GetFunctionUrlConfig", scope: onVersion, act: getURL},
		{method: "PUT", template: address, operation: "UpdateFunctionUrlConfig", scope: onVersion, act: updateURL, conditions: urlKeys},
		{method: "DELETE", template: address, operation: "DeleteFunctionUrlConfig", scope: onVersion, act: deleteURL},
		{method: "GET", template: address + "s", operation: "ListFunctionUrlConfigs", scope: onFunction, act: listURLs},

		{method: "POST", template: one + "/policy", operation: "AddPermission", scope: onVersion, act: addPermission, conditions: permissionKeys},
		{method: "GET", template: one + "/policy", operation: "GetPolicy", scope: onVersion, act: getPolicy},
		{method: "DELETE", template: one + "/policy/{StatementId}", operation: "RemovePermission", scope: onVersion, act: removePermission},

		{method: "GET", template: tags, operation: "ListTags", scope: onResource, act: listTags},
		{method: "POST", template: tags, operation: "TagResource", scope: onResource, act: tagResource, conditions: tagsOfBody},
		{method: "DELETE", template: tags, operation: "UntagResource", scope: onResource, act: untagResource, conditions: tagsOfQuery},

		{method: "GET", template: "/2016-08-19/account-settings", operation: "GetAccountSettings", scope: onAccount, act: getAccountSettings},
		{method: "GET", template: "/2020-06-30/functions/{FunctionName}/code-signing-config", operation: "GetFunctionCodeSigningConfig", scope: onFunction, act: getFunctionCodeSigningConfig},
	}
}

// missing are the operations of Lambda that are not built: one line each of
// method, template and name. What follows a question mark is find.
const missing = `
POST   /2014-11-13/functions/{}/invoke-async                    InvokeAsync
PUT    /2020-06-30/functions/{}/code-signing-config             PutFunctionCodeSigningConfig
DELETE /2020-06-30/functions/{}/code-signing-config             DeleteFunctionCodeSigningConfig
POST   /2020-04-22/code-signing-configs                         CreateCodeSigningConfig
GET    /2020-04-22/code-signing-configs                         ListCodeSigningConfigs
GET    /2020-04-22/code-signing-configs/{}                      GetCodeSigningConfig
PUT    /2020-04-22/code-signing-configs/{}                      UpdateCodeSigningConfig
DELETE /2020-04-22/code-signing-configs/{}                      DeleteCodeSigningConfig
GET    /2020-04-22/code-signing-configs/{}/functions            ListFunctionsByCodeSigningConfig
PUT    /2019-09-30/functions/{}/provisioned-concurrency         PutProvisionedConcurrencyConfig
GET    /2019-09-30/functions/{}/provisioned-concurrency         GetProvisionedConcurrencyConfig
DELETE /2019-09-30/functions/{}/provisioned-concurrency         DeleteProvisionedConcurrencyConfig
GET    /2019-09-30/functions/{}/provisioned-concurrency?ALL     ListProvisionedConcurrencyConfigs
GET    /2021-07-20/functions/{}/runtime-management-config       GetRuntimeManagementConfig
PUT    /2021-07-20/functions/{}/runtime-management-config       PutRuntimeManagementConfig
GET    /2025-11-30/functions/{}/function-scaling-config         GetFunctionScalingConfig
PUT    /2025-11-30/functions/{}/function-scaling-config         PutFunctionScalingConfig
POST   /2015-03-31/event-source-mappings                        CreateEventSourceMapping
GET    /2015-03-31/event-source-mappings                        ListEventSourceMappings
GET    /2015-03-31/event-source-mappings/{}                     GetEventSourceMapping
PUT    /2015-03-31/event-source-mappings/{}                     UpdateEventSourceMapping
DELETE /2015-03-31/event-source-mappings/{}                     DeleteEventSourceMapping
GET    /2018-10-31/layers                                       ListLayers
GET    /2018-10-31/layers?LayerVersion                          GetLayerVersionByArn
POST   /2018-10-31/layers/{}/versions                           PublishLayerVersion
GET    /2018-10-31/layers/{}/versions                           ListLayerVersions
GET    /2018-10-31/layers/{}/versions/{}                        GetLayerVersion
DELETE /2018-10-31/layers/{}/versions/{}                        DeleteLayerVersion
POST   /2018-10-31/layers/{}/versions/{}/policy                 AddLayerVersionPermission
GET    /2018-10-31/layers/{}/versions/{}/policy                 GetLayerVersionPolicy
DELETE /2018-10-31/layers/{}/versions/{}/policy/{}              RemoveLayerVersionPermission
POST   /2025-11-30/capacity-providers                           CreateCapacityProvider
GET    /2025-11-30/capacity-providers                           ListCapacityProviders
GET    /2025-11-30/capacity-providers/{}                        GetCapacityProvider
PUT    /2025-11-30/capacity-providers/{}                        UpdateCapacityProvider
DELETE /2025-11-30/capacity-providers/{}                        DeleteCapacityProvider
GET    /2025-11-30/capacity-providers/{}/function-versions      ListFunctionVersionsByCapacityProvider
GET    /2025-12-01/functions/{}/durable-executions              ListDurableExecutionsByFunction
GET    /2025-12-01/durable-executions/{}                        GetDurableExecution
GET    /2025-12-01/durable-executions/{}/history                GetDurableExecutionHistory
GET    /2025-12-01/durable-executions/{}/state                  GetDurableExecutionState
POST   /2025-12-01/durable-executions/{}/checkpoint             CheckpointDurableExecution
POST   /2025-12-01/durable-executions/{}/stop                   StopDurableExecution
POST   /2025-12-01/durable-execution-callbacks/{}/fail          SendDurableExecutionCallbackFailure
POST   /2025-12-01/durable-execution-callbacks/{}/heartbeat     SendDurableExecutionCallbackHeartbeat
POST   /2025-12-01/durable-execution-callbacks/{}/succeed       SendDurableExecutionCallbackSuccess
GET    /2026-07-09/resource-policy/{}                           GetResourcePolicy
PUT    /2026-07-09/resource-policy/{}                           PutResourcePolicy
DELETE /2026-07-09/resource-policy/{}                           DeleteResourcePolicy`

func missingRoutes() []route {
	var routes []route
	for line := range strings.Lines(missing) {
		if f := strings.Fields(line); len(f) == 3 {
			template, find, _ := strings.Cut(f[1], "?")
			routes = append(routes, route{method: f[0], template: template, operation: f[2], find: find,
				code: f[2] == "PublishLayerVersion"})
		}
	}
	return routes
}

// mostSegments is more than any template has.
const mostSegments = 8

// params are the path's values, unescaped, in the order of the template.
type params [3]string

// routeKey is what narrows the table down at once: AWS dates its paths.
type routeKey struct{ method, date string }

type routeTable map[routeKey][]*route

func newRouteTable(routes []route) routeTable {
	t := routeTable{}
	for i := range routes {
		rt := &routes[i]
		rt.segments = strings.Split(rt.template[1:], "/")
		key := routeKey{rt.method, rt.segments[0]}
		if rt.find != "" { // the narrower one is asked first
			t[key] = append([]*route{rt}, t[key]...)
			continue
		}
		t[key] = append(t[key], rt)
	}
	return t
}

// match finds the operation of a request and fills in the path's values; nil
// if there is none. It works on the path as it was sent, because a name may
// hold an escaped slash, and takes one slash at the end, as old clients send.
func (t routeTable) match(r *http.Request, p *params) *route {
	var segments [mostSegments]string
	n := split(strings.TrimSuffix(r.URL.EscapedPath(), "/"), &segments)
	if n == 0 {
		return nil
	}
	for _, rt := range t[routeKey{r.Method, segments[0]}] {
		if rt.fits(segments[:n]) && (rt.find == "" || rt.found(r.URL.RawQuery)) {
			if !rt.values(segments[:n], p) {
				return nil
			}
			return rt
		}
	}
	return nil
}

// split cuts a path at its slashes; zero if it has too many or empty parts.
func split(path string, into *[mostSegments]string) int {
	rest, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return 0
	}
	for n := 0; n < mostSegments; n++ {
		head, tail, more := strings.Cut(rest, "/")
		if head == "" {
			return 0
		}
		into[n], rest = head, tail
		if !more {
			return n + 1
		}
	}
	return 0
}

func (rt *route) fits(segments []string) bool {
	if len(segments) != len(rt.segments) {
		return false
	}
	for i, want := range rt.segments {
		if want[0] != '{' && want != segments[i] {
			return false
		}
	}
	return true
}

func (rt *route) values(segments []string, p *params) bool {
	n := 0
	for i, want := range rt.segments {
		if want[0] != '{' {
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return false
		}
		p[n] = value
		n++
	}
	return true
}

// found tells whether the query has find's value under find or List, the two
// names by which Lambda tells operations of one path apart.
func (rt *route) found(query string) bool {
	for _, name := range []string{"find", "List"} {
		if v, err := queryValue(query, name); err == nil && v == rt.find {
			return true
		}
	}
	return false
}
