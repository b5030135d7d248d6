package events

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/tenant"
)

func sample() event {
	return event{
		RequestID: "r1", Attempt: 2, Failures: 1, Account: "111111111111", EndTenant: tenant.NewUID(), EndTenantID: "shop-1",
		FunctionUID: tenant.NewUID(), Function: "orders", Qualifier: "live",
		Principal: call.Principal{
			Type: call.TypeRole, ARN: "arn:aws:sts::111111111111:assumed-role/app/ada", Account: "111111111111", Tenant: "acme", UserID: "AROA1:ada",
			AccessKeyID: "ASIA1", Origin: call.Origin{IP: netip.MustParseAddr("192.0.2.1"), TLS: true, UserAgent: "aws-cli"},
			Session: &call.Session{
				ID: "ASIA1", Issuer: "arn:aws:iam::111111111111:role/app", IssuerUID: tenant.NewUID(), Name: "ada", Tags: []call.Tag{{Key: "k", Value: "v"}},
				Issued: time.Unix(1, 0).UTC(), Expires: time.Unix(9, 0).UTC(), Policies: []string{"{}"}, Caps: []string{"cap"}, EndTenant: "shop-1",
			},
		},
		Received: time.Unix(5, 6).UTC(), ClientCtx: "e30=",
		Chain: []call.Link{{Principal: call.Principal{ARN: "p"}, RequestID: "r0"}}, Cause: "Boom", Died: time.Unix(7, 8).UTC(), Payload: []byte("{}"),
	}
}

// TestEventsOfSchema1AreRead: it had no principal at its end.
func TestEventsOfSchema1AreRead(t *testing.T) {
	want := sample()
	want.Principal = call.Principal{Type: call.TypeUser, ARN: "arn:aws:iam::111111111111:user/admin", Account: "111111111111", AccessKeyID: "AKIA1"}
	b := want.append(nil)
	b = b[:len(b)-len(fields.Text(nil, encode(want.Principal)))]
	if _, err := decodeEvent(b); err == nil {
		t.Error("an event of schema 2 without its principal was read")
	}
	b[0] = 1
	if got, err := decodeEvent(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	e := sample()
	got, err := decodeEvent(e.append(nil))
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %v", got, err)
	}
	h := e.head(time.Unix(9, 1).UTC())
	if got, err := parseHead(h.String()); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	a := accepted{tenant.NewUID(), h, []byte("sealed")}
	if got, err := decodeAccepted(a.append(nil)); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestImpossibleRecordsAreRefused(t *testing.T) {
	e := sample()
	e.Attempt = 0
	if _, err := decodeEvent(e.append(nil)); err == nil {
		t.Error("an event at attempt 0 was read")
	}
	e = sample()
	e.Failures = 3
	if _, err := decodeEvent(e.append(nil)); err == nil {
		t.Error("an event with more failures than attempts was read")
	}
	e = sample()
	e.Chain = make([]call.Link, call.MaxChain+1)
	if _, err := decodeEvent(e.append(nil)); err == nil {
		t.Error("an event with an endless chain was read")
	}
	e = sample()
	whole := e.append(nil)
	for name, change := range map[string][2]string{
		"another principal":          {"assumed-role/app/ada\",", "assumed-role/app/eve\","},
		"another key":                {`"accessKeyId":"ASIA1"`, `"accessKeyId":"ASIA2"`},
		"a member that nobody knows": {`"caps":`, `"capz":`},
		"no object":                  {`{"type":"AssumedRole"`, `["type":"AssumedRole"`},
	} {
		text := string(encode(e.Principal))
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text || len(changed) != len(text) {
			t.Fatalf("%s: the test changes nothing", name)
		}
		if _, err := decodeEvent([]byte(strings.TrimSuffix(string(whole), text) + changed)); err == nil {
			t.Errorf("an event with %s was read", name)
		}
	}
	for _, s := range []string{
		"", "1 r1 111111111111  0 0 5 5", "1 r1 111111111111  1 2 5 5", "1 r1 1  1 0 5 5", "2 r1 111111111111  1 0 5 5",
		"1 r1 111111111111 shop 1 0 5 5", "1  111111111111  1 0 5 5", "1 r1 111111111111  1 0 5 5 6", "1 r1 111111111111  1 0 x 5",
	} {
		if h, err := parseHead(s); err == nil {
			t.Errorf("%q was read as %+v", s, h)
		}
	}
}

func FuzzDecode(f *testing.F) {
	e := sample()
	h := e.head(time.Unix(9, 1))
	a := accepted{tenant.NewUID(), h, []byte("sealed")}
	f.Add(e.append(nil), h.String())
	f.Add(a.append(nil), "1 r1 111111111111  1 0 5 5")
	f.Fuzz(func(t *testing.T, b []byte, s string) {
		if e, err := decodeEvent(b); err == nil {
			if again, err := decodeEvent(e.append(nil)); err != nil || again.RequestID != e.RequestID || again.Attempt != e.Attempt {
				t.Errorf("%+v does not survive a round trip: %v", e, err)
			}
		}
		if a, err := decodeAccepted(b); err == nil {
			if _, err := decodeAccepted(a.append(nil)); err != nil {
				t.Errorf("%+v does not survive a round trip: %v", a, err)
			}
		}
		if h, err := parseHead(s); err == nil {
			if again, err := parseHead(h.String()); err != nil || again != h {
				t.Errorf("%+v does not survive a round trip: %+v, %v", h, again, err)
			}
		}
	})
}
