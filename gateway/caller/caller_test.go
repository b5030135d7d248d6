package caller_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/gateway/caller"
	"github.com/carrel-dev/carrel/iam/credential"
)

type keys map[string]call.Principal

func (k keys) Principal(id string) (call.Principal, bool) { p, found := k[id]; return p, found }

func TestWhoAsks(t *testing.T) {
	t.Parallel()
	known := keys{"AKIA1": {ARN: "user", Account: "1"}}
	holder := &call.Principal{ARN: "session", Account: "2", Session: &call.Session{ID: "ASIA1"}}
	for name, tt := range map[string]struct {
		id   credential.Identity
		want string
	}{
		"a user":                          {credential.Identity{KeyID: "AKIA1", Account: "1"}, "user"},
		"a session":                       {credential.Identity{KeyID: "ASIA1", Account: "2", Holder: holder}, "session"},
		"nobody's key":                    {credential.Identity{KeyID: "AKIA2", Account: "1"}, ""},
		"a key that is another account's": {credential.Identity{KeyID: "AKIA1", Account: "2"}, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "[::ffff:192.0.2.7]:80"
		p, found := caller.Of(r, &tt.id, known)
		if p.ARN != tt.want || found != (tt.want != "") {
			t.Errorf("%s: %+v", name, p)
		}
		if found && p.Origin.IP != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("%s: origin %+v", name, p.Origin)
		}
	}
	if holder.Origin.IP.IsValid() {
		t.Error("the shared holder was changed")
	}
}

func TestOriginIsTheConnections(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "https://x/", nil)
	r.RemoteAddr = "@"
	r.Header.Set("User-Agent", strings.Repeat("x", 10_000))
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	if o := caller.Origin(r); o.IP.IsValid() || !o.TLS || len(o.UserAgent) != 512 {
		t.Errorf("%+v", o)
	}
}
