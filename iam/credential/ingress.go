package credential

import (
	"net/http"
	"strings"
)

// Ingress deletes from h every header that would let a client speak for a
// proxy, for another client or for us, and every one that is meant for one
// hop: the hop-by-hop ones and those that Connection lists (RFC 9110, 7.6.1),
// forwarding headers, identities that some proxies assert, tenant names that
// are not under a signature, our own x-carrel-*, and any name with a '_' or a
// '.', because software that folds those into '-' would take it for another.
// Call it before anything else reads h. A signed header that it deletes makes
// Verify refuse the request.
//
// Host is deleted too: http.Request.Host is the one that counts. Upgrade goes
// as well; a handler that upgrades has to be reached another way.
func Ingress(h http.Header) {
	for _, value := range headerValues(h, "Connection") {
		for name := range strings.SplitSeq(value, ",") {
			deleteFold(h, strings.Trim(name, " \t"))
		}
	}
	for key := range h {
		if isSpoofable(key) {
			delete(h, key)
		}
	}
}

// deleteFold deletes a header in every spelling that the map has.
func deleteFold(h http.Header, name string) {
	for key := range h {
		if equalFold(key, name) {
			delete(h, key)
		}
	}
}

func isSpoofable(key string) bool {
	for i := range len(key) {
		if b := key[i]; b == '_' || b == '.' || b == ':' {
			return true
		}
	}
	if key == "" || !contains(spoofableInitials, lower(key[0])) {
		return false
	}
	for _, prefix := range spoofablePrefixes {
		if len(key) >= len(prefix) && equalFold(key[:len(prefix)], prefix) {
			return true
		}
	}
	for _, name := range spoofableNames {
		if equalFold(key, name) {
			return true
		}
	}
	return false
}

// spoofableInitials are the first letters of the names below: most headers
// begin with another.
const spoofableInitials = "cfhkprtuvx"

// spoofablePrefixes are families of headers of which every one is deleted.
var spoofablePrefixes = [...]string{
	"X-Forwarded", "X-Carrel-", "X-Tenant", "Tenant-", "X-Account-", "X-Envoy-", "X-Original-", "X-Rewrite-",
	"X-Remote-", "X-Client-", "X-Ssl-", "X-Auth-Request-", "X-Authenticated-", "X-Appengine-", "X-Goog-Authenticated-",
	"X-Ms-Client-Principal", "Cf-Connecting-", "X-Http-Method",
}

// spoofableNames are single headers that are deleted.
var spoofableNames = [...]string{
	// one hop only (RFC 9110, 7.6.1)
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Http2-Settings",
	// who the client is, said by a proxy
	"Forwarded", "Via", "X-Real-Ip", "True-Client-Ip", "Client-Ip", "Fastly-Client-Ip", "X-Cluster-Client-Ip",
	"X-Host", "X-Method-Override", "X-User", "X-User-Id", "X-Username", "Remote-User", "Remote-Addr", "Front-End-Https", "Client-Cert", "Client-Cert-Chain",
	// HTTP_PROXY of CGI (CVE-2016-5385)
	"Proxy",
	// set by us in replies
	"X-Amzn-Requestid",
	// net/http gives it as Request.Host
	"Host",
}

// Guard runs Ingress on every request, and answers 400 to a request line in
// absolute form: that is for proxies, and its authority would override Host.
func Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.IsAbs() || r.URL.Host != "" || r.Method == http.MethodConnect {
			http.Error(w, "The request line must hold a path, not an absolute address.", http.StatusBadRequest)
			return
		}
		Ingress(r.Header)
		next.ServeHTTP(w, r)
	})
}
