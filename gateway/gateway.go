// Package gateway is the node's one port: it takes HTTP in, finds out which
// service a request is for, and hands it on.
//
// A request is routed by the service in its credential scope, because that
// is what its signature covers; one without a signature by its path: the root
// is STS's, which alone takes requests that nobody signed. Health
// checks are the only requests that need none. Before all that comes the host:
// one of a function's URL is that function's with all paths, and nothing else
// answers there.
package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/iam/credential"
)

// Config is what the gateway hands requests to.
type Config struct {
	// Lambda serves the Lambda API, Admin the /v1 API, and IAM and STS the two
	// services of the Query protocol.
	Lambda, Admin, IAM, STS http.Handler
	// URLs serves the hosts of functions' URLs; nil if there are none.
	URLs URLs
	// Ready says why the node cannot take requests; empty if it can.
	Ready func() string
}

// URLs serves functions' URLs.
type URLs interface {
	http.Handler
	// Serves tells whether a request is for the host of one.
	Serves(*http.Request) bool
}

// The bounds of a connection. Bodies have bounds of their own, by operation.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// readTimeout bounds a whole request: 70 MB in it is 1.2 MB/s.
	readTimeout    = time.Minute
	maxHeaderBytes = 32 << 10
)

// New makes the handler of the port. Requests that are meant for a proxy are
// refused, and headers that only a trusted proxy could vouch for are deleted,
// before anything reads them.
func New(cfg Config) http.Handler { return credential.Guard(&handler{cfg}) }

// Server gives an HTTP server with bounds on slow and large requests.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
}

type handler struct{ Config }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.URLs != nil && h.URLs.Serves(r) {
		h.URLs.ServeHTTP(w, r)
		return
	}
	switch r.URL.Path {
	case "/healthz":
		answer(w, http.StatusOK, "ok\n")
		return
	case "/readyz":
		if why := h.Ready(); why != "" {
			answer(w, http.StatusServiceUnavailable, "not ready: "+why+"\n")
			return
		}
		answer(w, http.StatusOK, "ready\n")
		return
	}
	switch service(r) {
	case "carrel":
		h.Admin.ServeHTTP(w, r)
	case "iam":
		h.IAM.ServeHTTP(w, r)
	case "sts":
		h.STS.ServeHTTP(w, r)
	default:
		h.Lambda.ServeHTTP(w, r)
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text))
}

// service gives the service a request says it is signed for. What it says is
// proved later: each handler accepts signatures for its own service only.
func service(r *http.Request) string {
	scope := ""
	if auth := r.Header.Get("Authorization"); auth != "" {
		_, scope, _ = strings.Cut(auth, "Credential=")
	} else if r.URL.RawQuery != "" && strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		scope = r.URL.Query().Get("X-Amz-Credential")
	}
	parts := strings.SplitN(scope, "/", 6)
	if len(parts) >= 5 && served[parts[3]] {
		return parts[3]
	}
	switch {
	case scope == "" && strings.HasPrefix(r.URL.Path, "/v1/"):
		return "carrel"
	case r.URL.Path == "/" && (r.Method == http.MethodPost || strings.Contains(r.URL.RawQuery, "Action=")):
		// No operation of Lambda is at this path. Nobody signs
		// AssumeRoleWithWebIdentity of STS, the one operation that can do
		// without; of what else comes here, IAM refuses what is its own.
		if strings.Contains(r.URL.RawQuery, "Version=2010-05-08") {
			return "iam"
		}
		return "sts"
	}
	return "lambda"
}

// served are the services that requests are signed for.
var served = map[string]bool{"carrel": true, "iam": true, "sts": true, "lambda": true}
