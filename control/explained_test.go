package control

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// encodedIn gives the encoded message of a refusal; empty if it has none.
func encodedIn(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return ""
	}
	_, message, _ := strings.Cut(f.Text(), "Encoded authorization failure message: ")
	return message
}

// TestRefusalsExplainThemselvesToTheirAccount has a developer refused, and
// the account's admin decode why.
func TestRefusalsExplainThemselvesToTheirAccount(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	globex := as(t, s, s.FirstAdmin().AccessKeyID).tenant("globex")
	dev := acme.assumed(AssumeRoleInput{RoleARN: acme.free("dev"), SessionBounds: SessionBounds{
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
{"Sid":"NoDeletes","Effect":"Deny","Action":"lambda:Delete*","Resource":"*"}]}`,
	}})
	refused := func(o who, owner tenant.AccountID, chain ...call.Link) string {
		_, err := s.Authorise(ctx, iam.Request{
			Principal: o.me, Action: "lambda:DeleteFunction", Resource: s.FunctionResource(owner, "f"), Chain: chain,
			Owner: tenant.Identity{Account: owner}, Keys: []iam.Key{{Name: "aws:requesttag/team", Values: []string{"blue"}}},
		}, "request")
		if !fault.Is(err, fault.Denied) {
			t.Fatalf("not refused: %v", err)
		}
		return encodedIn(err)
	}
	decode := func(o who, message string) (string, error) {
		g, err := s.Authorise(ctx, iam.Request{Principal: o.me, Action: ActionDecodeMessage, Resource: STSResource(o.account), Owner: tenant.Identity{Account: o.account}}, "request")
		acme.must(err)
		return s.DecodeAuthorizationMessage(ctx, g, message)
	}
	message := refused(dev, acme.account)
	if message == "" || strings.Contains(message, "Deletes") {
		t.Fatalf("the message %q", message)
	}
	text, err := decode(acme, message)
	acme.must(err)
	var x explained
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatal(err)
	}
	if m := x.MatchedStatements.Items; x.Allowed || !x.ExplicitDeny || len(m) != 1 || m[0] != (matched{"NoDeletes", "DENY", "session policy", "session policy"}) {
		t.Errorf("decoded: %s", text)
	}
	if c := x.Context; c.Principal.ARN != dev.me.ARN || c.Action != "lambda:DeleteFunction" || c.Resource != s.FunctionResource(acme.account, "f") ||
		len(c.Conditions.Items) != 1 || c.Conditions.Items[0].Values.Items[0] != "blue" {
		t.Errorf("its context: %s", text)
	}
	if _, err := decode(globex, message); err == nil {
		t.Error("another account decoded it")
	}
	if m := refused(globex, acme.account); m != "" {
		t.Error("another account's refusal is explained")
	}
	if m := refused(dev, acme.account, call.Link{Principal: globex.me}); m != "" {
		t.Error("a refusal in a chain through another account is explained")
	}
}
