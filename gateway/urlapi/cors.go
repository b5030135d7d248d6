package urlapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/function"
)

// The headers of replies that say what scripts of other origins may do. Where
// a URL has a configuration it alone sets them.
const (
	headerAllowOrigin = "Access-Control-Allow-Origin"
	corsPrefix        = "Access-Control-"
)

// preflight answers a browser that asks before it sends a request; the
// function is not called. False if the request is none.
func preflight(w http.ResponseWriter, r *http.Request, c *function.CORS) bool {
	if c == nil || r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	header := w.Header()
	if allowOrigin(header, r, c) {
		set := func(name string, values []string) {
			if len(values) > 0 {
				header.Set(name, strings.Join(values, ","))
			}
		}
		set("Access-Control-Allow-Methods", c.AllowMethods)
		set("Access-Control-Allow-Headers", c.AllowHeaders)
		if c.MaxAge != nil {
			header.Set("Access-Control-Max-Age", strconv.Itoa(*c.MaxAge))
		}
	}
	w.WriteHeader(http.StatusOK)
	return true
}

// allowOrigin says that the origin of a request may read the reply, if it may.
// An origin that is let in by * gets * back, so that browsers send it no
// credentials, whatever the configuration says of them.
func allowOrigin(header http.Header, r *http.Request, c *function.CORS) bool {
	if c == nil {
		return false
	}
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
		return false
	case slices.Contains(c.AllowOrigins, origin):
		header.Set(headerAllowOrigin, origin)
		if c.AllowCredentials {
			header.Set("Access-Control-Allow-Credentials", "true")
		}
	case slices.Contains(c.AllowOrigins, "*"):
		header.Set(headerAllowOrigin, "*")
	default:
		return false
	}
	if len(c.ExposeHeaders) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ","))
	}
	return true
}

// withoutCORS gives a function's headers without those that its URL's
// configuration sets; Vary has what both say.
func withoutCORS(of, set http.Header) http.Header {
	if set["Vary"] == nil {
		return of
	}
	for name := range of {
		if strings.HasPrefix(name, corsPrefix) {
			delete(of, name)
		}
	}
	of["Vary"] = append(slices.Clone(set["Vary"]), of["Vary"]...)
	return of
}
