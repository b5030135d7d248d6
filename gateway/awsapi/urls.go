package awsapi

import (
	"net/http"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

// urlReply is a function's URL as Lambda shows it.
type urlReply struct {
	FunctionURL      string     `json:"FunctionUrl"`
	FunctionArn      string     `json:"FunctionArn"`
	AuthType         string     `json:"AuthType"`
	Cors             *corsReply `json:"Cors,omitempty"`
	CreationTime     string     `json:"CreationTime"`
	LastModifiedTime string     `json:"LastModifiedTime,omitempty"`
	InvokeMode       string     `json:"InvokeMode"`
}

type corsReply struct {
	AllowCredentials bool     `json:"AllowCredentials"`
	AllowHeaders     []string `json:"AllowHeaders,omitempty"`
	AllowMethods     []string `json:"AllowMethods,omitempty"`
	AllowOrigins     []string `json:"AllowOrigins,omitempty"`
	ExposeHeaders    []string `json:"ExposeHeaders,omitempty"`
	MaxAge           *int     `json:"MaxAge,omitempty"`
}

type urlPage struct {
	Configs    []urlReply `json:"FunctionUrlConfigs"`
	NextMarker string     `json:"NextMarker,omitempty"`
}

// urlTime is how Lambda writes the times of URLs.
const urlTime = "2006-01-02T15:04:05.000000000Z"

func (rq *request) url(u function.URLConfig) urlReply {
	n := rq.named()
	out := urlReply{
		FunctionURL: rq.h.URL(u.ID), FunctionArn: function.ARN(n.region, n.account, n.name, u.Qualifier),
		AuthType: string(u.Auth), InvokeMode: string(u.Mode),
		CreationTime: u.Created.UTC().Format(urlTime), LastModifiedTime: u.LastModified.UTC().Format(urlTime),
	}
	if c := u.CORS; c != nil {
		out.Cors = &corsReply{c.AllowCredentials, c.AllowHeaders, c.AllowMethods, c.AllowOrigins, c.ExposeHeaders, c.MaxAge}
	}
	return out
}

// urlKeys gives the condition key by which policies bound who makes a URL public.
func urlKeys(rq *request) []iam.Key {
	o, err := parseBody(rq.body)
	if err != nil {
		return nil
	}
	if auth := o.text("AuthType"); *o.err == nil && auth != nil {
		return []iam.Key{{Name: iam.KeyURLAuthType, Values: []string{*auth}}}
	}
	return nil
}

// urlInput reads the body of a URL that is made or changed.
func (rq *request) urlInput(auth bool) (control.URLInput, error) {
	in := control.URLInput{Name: rq.name, Qualifier: rq.qualifier}
	o, err := parseBody(rq.body)
	if err != nil {
		return in, err
	}
	kind, mode := o.text("AuthType"), o.text("InvokeMode")
	in.Auth, in.Mode = function.URLAuth(value(kind)), function.InvokeMode(value(mode))
	if _, found := o.get("Cors"); found { // an empty one takes it away
		c := o.child("Cors")
		in.CORS = &function.CORS{
			AllowCredentials: c.flag("AllowCredentials"), AllowHeaders: c.list("AllowHeaders"), AllowMethods: c.list("AllowMethods"),
			AllowOrigins: c.list("AllowOrigins"), ExposeHeaders: c.list("ExposeHeaders"), MaxAge: c.integer("MaxAge"),
		}
	}
	if *o.err != nil {
		return in, *o.err
	}
	var v violations
	if auth {
		v.required(kind, "authType")
	}
	if kind != nil {
		v.oneOf(*kind, "authType", string(function.URLAuthNone), string(function.URLAuthIAM))
	}
	if mode != nil {
		v.oneOf(*mode, "invokeMode", string(function.Buffered), string(function.ResponseStream))
	}
	return in, v.err()
}

func createURL(rq *request) (reply, error) {
	in, err := rq.urlInput(true)
	if err != nil {
		return reply{}, err
	}
	u, err := rq.h.Control.CreateURL(rq.r.Context(), rq.grant, in)
	return reply{http.StatusCreated, rq.url(u)}, err
}

func getURL(rq *request) (reply, error) {
	u, err := rq.h.Control.GetURL(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
	return reply{http.StatusOK, rq.url(u)}, err
}

func updateURL(rq *request) (reply, error) {
	in, err := rq.urlInput(false)
	if err != nil {
		return reply{}, err
	}
	u, err := rq.h.Control.UpdateURL(rq.r.Context(), rq.grant, in)
	return reply{http.StatusOK, rq.url(u)}, err
}

func deleteURL(rq *request) (reply, error) {
	return reply{status: http.StatusNoContent}, rq.h.Control.DeleteURL(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
}

func listURLs(rq *request) (reply, error) {
	in, err := rq.page()
	if err != nil {
		return reply{}, err
	}
	page, err := rq.h.Control.ListURLs(rq.r.Context(), rq.grant, rq.name, in)
	out := urlPage{Configs: make([]urlReply, len(page.Items)), NextMarker: page.NextMarker}
	for i, u := range page.Items {
		out.Configs[i] = rq.url(u)
	}
	return reply{http.StatusOK, out}, err
}
