package urlapi

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/gateway/caller"
)

// request is an event in payload format 2.0, as the Lambda developer guide
// describes it.
type request struct {
	Version        string            `json:"version"`
	RouteKey       string            `json:"routeKey"`
	RawPath        string            `json:"rawPath"`
	RawQueryString string            `json:"rawQueryString"`
	Cookies        []string          `json:"cookies,omitempty"`
	Headers        map[string]string `json:"headers"`
	Query          map[string]string `json:"queryStringParameters,omitempty"`
	Context        requestContext    `json:"requestContext"`
	Body           string            `json:"body,omitempty"`
	Base64         bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	Authorizer   *authorizer `json:"authorizer,omitempty"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         requestHTTP `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

type requestHTTP struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

type authorizer struct {
	IAM authorizerIAM `json:"iam"`
}

type authorizerIAM struct {
	AccessKey string `json:"accessKey"`
	AccountID string `json:"accountId"`
	CallerID  string `json:"callerId"`
	UserARN   string `json:"userArn"`
	UserID    string `json:"userId"`
}

// withheld are the headers that a function does not get: those that prove who
// signed, which it could show to others, and those that only Carrel sets.
var withheld = map[string]bool{
	"Cookie": true, headerTenantID: true, "X-Amz-Security-Token": true,
}

// event makes the event of a request.
func event(r *http.Request, v *visit, at time.Time) ([]byte, error) {
	raw := r.URL.RawQuery
	if v.Auth == function.URLAuthIAM {
		raw = unsigned(raw)
	}
	e := request{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.EscapedPath(), RawQueryString: raw,
		Cookies: cookies(r.Header), Headers: headers(r, v.Auth), Query: query(raw),
		Context: requestContext{
			AccountID: "anonymous", APIID: v.ID, DomainName: hostname(r), DomainPrefix: v.ID,
			HTTP: requestHTTP{
				Method: r.Method, Path: r.URL.EscapedPath(), Protocol: r.Proto, SourceIP: v.principal.Origin.IP.String(), UserAgent: v.principal.Origin.UserAgent,
			},
			RequestID: v.id, RouteKey: "$default", Stage: "$default",
			Time: at.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: at.UnixMilli(),
		},
	}
	if v.Auth == function.URLAuthIAM {
		e.Context.AccountID = string(v.principal.Account)
		e.Context.Authorizer = &authorizer{iamOf(&v.principal)}
	}
	if isText(r.Header.Get("Content-Type"), v.body) {
		e.Body = string(v.body)
	} else {
		e.Body, e.Base64 = base64.StdEncoding.EncodeToString(v.body), true
	}
	return json.Marshal(e)
}

func iamOf(p *call.Principal) authorizerIAM {
	return authorizerIAM{AccessKey: p.AccessKeyID, AccountID: string(p.Account), CallerID: p.UserID, UserARN: p.ARN, UserID: p.UserID}
}

// headers gives a request's headers with small letters, several of a name
// joined, as payload format 2.0 has them.
func headers(r *http.Request, auth function.URLAuth) map[string]string {
	out := map[string]string{}
	for name, values := range r.Header {
		if withheld[name] || name == "Authorization" && auth == function.URLAuthIAM {
			continue
		}
		out[strings.ToLower(name)] = strings.Join(values, ",")
	}
	out["host"] = r.Host
	// What the request said of these was deleted: they are the node's own.
	out["x-forwarded-for"], out["x-forwarded-proto"] = caller.Origin(r).IP.String(), "http"
	if r.TLS != nil {
		out["x-forwarded-proto"] = "https"
	}
	return out
}

func cookies(h http.Header) []string {
	var out []string
	for _, line := range h["Cookie"] {
		for c := range strings.SplitSeq(line, ";") {
			if c = strings.TrimSpace(c); c != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

// unsigned takes out of a query what a signature in it consists of: a function
// could show it to others.
func unsigned(raw string) string {
	if !strings.Contains(raw, "X-Amz-Signature=") {
		return raw
	}
	var kept []string
	for part := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err == nil && strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "&")
}

// query gives the parameters of a query, several of a name joined.
func query(raw string) map[string]string {
	values, _ := url.ParseQuery(raw) // what cannot be read is in rawQueryString
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]string, len(values))
	for name, v := range values {
		out[name] = strings.Join(v, ",")
	}
	return out
}

// isText tells whether a body goes into the event as it is.
func isText(contentType string, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || !utf8.Valid(b) {
		return false
	}
	switch kind {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}
