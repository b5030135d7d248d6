package awsapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// FuzzInvokeOptions shows that whatever the headers and the query say, the
// options are among those that exist and a named end tenant is well formed.
func FuzzInvokeOptions(f *testing.F) {
	f.Add("Event", "Tail", "e30=", "blue", "Qualifier=1")
	f.Add("", "", "", "", "X-Amz-Tenant-Id=blue&X-Amz-Invocation-Type=DryRun")
	f.Add("RequestResponse", "None", "", "a/../b", "X-Amz-Tenant-Id=x")
	f.Fuzz(func(t *testing.T, kind, log, client, id, query string) {
		header := http.Header{}
		for name, v := range map[string]string{headerInvocationType: kind, headerLogType: log, headerClientContext: client, headerTenantID: id} {
			if v != "" {
				header[name] = []string{v}
			}
		}
		o, err := readOptions(header, query)
		if err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
				t.Errorf("fails as %v", err)
			}
			return
		}
		if o.kind != typeRequestResponse && o.kind != typeEvent && o.kind != typeDryRun {
			t.Errorf("the kind %q was taken", o.kind)
		}
		if o.named != (o.endTenant != "") || len(o.clientContext) > mostClientContext {
			t.Errorf("options %+v", o)
		}
		if _, err := tenant.ParseEndTenantID(string(o.endTenant)); o.named && err != nil {
			t.Error(err)
		}
		if id != "" && string(o.endTenant) != id {
			t.Errorf("the header names %q and the call is for %q", id, o.endTenant)
		}
	})
}

// FuzzParseBody compares our reading of an object with encoding/json's.
func FuzzParseBody(f *testing.F) {
	for _, s := range []string{`{}`, ``, ` { "a" : 1 , "b":[{"c":"\"}"}] }`, `{"a":"\\","b":null}`, `{"a":1,"\u0061":2}`, `{"a":-1.5e3}`, `{"é":"\ud800"}`, `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseBody(body)
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(body, &want)
		if err != nil {
			if wantErr == nil && want != nil && !strings.Contains(err.Error(), "more than") {
				t.Errorf("refused %q: %v", body, err)
			}
			return
		}
		if len(bytes.TrimSpace(body)) == 0 {
			return
		}
		if wantErr != nil || len(want) != len(o.members) {
			t.Fatalf("%q gave %d members, encoding/json %d, %v", body, len(o.members), len(want), wantErr)
		}
		for name, raw := range want {
			if !bytes.Equal(bytes.TrimSpace(o.members[name]), bytes.TrimSpace(raw)) {
				t.Errorf("%q: member %q is %s, encoding/json has %s", body, name, o.members[name], raw)
			}
			exercise(o, name)
		}
	})
}

// exercise reads a member as every type: none may panic.
func exercise(o object, name string) {
	o.text(name)
	o.integer(name)
	o.flag(name)
	o.blob(name)
	o.texts(name)
	o.weights(name)
	o.list(name)
	o.child(name)
	o.has(name)
}

// FuzzValidJSON compares our check with encoding/json's.
func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{}`, `[]`, `[1,]`, `{"a":1,}`, `{"a" : [ 1 , -0 , 0.5e+9, 01 ] }`, `"\u00e9\ud800 é"`, `"\x"`, `"\u12"`, "\"a\x1fb\"", "\"long enough \x1f for words\"",
		`"12345678"`, `"1234567\"9"`, `"123456789012345\\"`, `tru`, `nullx`, `-`, `1.`, `1e`, `1 2`, `{"a"}`, `{1:2}`, "\"\x7f\x80\xff\xa0\xdc\"", `"`, `"\`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := validJSON(b), json.Valid(b); got != want {
			t.Errorf("validJSON(%q) is %t, json.Valid says %t", b, got, want)
		}
	})
}
