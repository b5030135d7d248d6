package events

import (
	"reflect"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/tenant"
)

func sample() event {
	return event{
		RequestID: "r1", Attempt: 2, Failures: 1, Account: "111111111111", EndTenant: tenant.NewUID(), EndTenantID: "shop-1",
		FunctionUID: tenant.NewUID(), Function: "orders", Qualifier: "live", Principal: "arn:aws:iam::111111111111:user/admin",
		PrincipalOf: "111111111111", AccessKeyID: "AKIA1", Received: time.Unix(5, 6).UTC(), ClientCtx: "e30=",
		Chain: []call.Link{{Principal: call.Principal{ARN: "p"}, RequestID: "r0"}}, Cause: "Boom", Died: time.Unix(7, 8).UTC(), Payload: []byte("{}"),
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
	e.Chain = make([]call.Link, maxChain+1)
	if _, err := decodeEvent(e.append(nil)); err == nil {
		t.Error("an event with an endless chain was read")
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
