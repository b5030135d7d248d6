package control

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

func (o who) createURL(in URLInput) (function.URLConfig, error) {
	return o.s.CreateURL(ctx, o.may(ActionCreateURL, in.Name), in)
}

func TestURLs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	acme.publish("f")
	acme.alias("f", "live", "1")
	for _, in := range []URLInput{
		{Name: "f"}, {Name: "f", Auth: "none"}, {Name: "f", Auth: "NONE", Mode: "STREAM"}, {Name: "f", Auth: "NONE", Qualifier: "1"},
		{Name: "f", Auth: "NONE", Qualifier: "$LATEST"}, {Name: "f", Auth: "NONE", CORS: &function.CORS{AllowOrigins: []string{"a\r\nb"}}},
		{Name: "f", Auth: "NONE", CORS: &function.CORS{AllowHeaders: make([]string, 101)}},
	} {
		if _, err := acme.createURL(in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	_, err := acme.createURL(URLInput{Name: "f", Auth: "NONE", Qualifier: "absent"})
	wants(t, err, fault.NotFound, "ResourceNotFoundException")

	own, err := acme.createURL(URLInput{Name: "f", Auth: "NONE"})
	acme.must(err)
	live, err := acme.createURL(URLInput{Name: "f", Auth: "AWS_IAM", Mode: "RESPONSE_STREAM", Qualifier: "live"})
	acme.must(err)
	if !IsURLID(own.ID) || !IsURLID(live.ID) || own.ID == live.ID || own.Mode != function.Buffered {
		t.Errorf("%+v and %+v", own, live)
	}
	_, err = acme.createURL(URLInput{Name: "f", Auth: "NONE"})
	wants(t, err, fault.Conflict, "ResourceConflictException")
	if to, found := s.URL(live.ID); !found || to.Account != acme.account || to.Name != "f" || to.Qualifier != "live" || to.Auth != "AWS_IAM" {
		t.Errorf("the URL of live leads to %+v", to)
	}

	changed, err := s.UpdateURL(ctx, acme.may(ActionUpdateURL, "f"), URLInput{Name: "f", Auth: "AWS_IAM", CORS: &function.CORS{AllowOrigins: []string{"*"}}})
	acme.must(err)
	if got, err := s.GetURL(ctx, acme.may(ActionGetURL, "f"), "f", ""); err != nil || got.ID != own.ID || got.Auth != "AWS_IAM" || got.CORS == nil || changed.ID != own.ID {
		t.Errorf("changed to %+v, %v", got, err)
	}
	if page, err := s.ListURLs(ctx, acme.may(ActionListURLs, "f"), "f", ListInput{}); err != nil || len(page.Items) != 2 {
		t.Errorf("the list: %+v, %v", page, err)
	}

	// What a URL hangs on takes it along, and no id comes back.
	acme.must(s.DeleteURL(ctx, acme.may(ActionDeleteURL, "f"), "f", ""))
	again, err := acme.createURL(URLInput{Name: "f", Auth: "NONE"})
	acme.must(err)
	if _, found := s.URL(own.ID); found || again.ID == own.ID {
		t.Error("a URL that was deleted leads somewhere")
	}
	acme.must(s.DeleteAlias(ctx, acme.may(ActionDeleteAlias, "f"), "f", "live"))
	if _, found := s.URL(live.ID); found {
		t.Error("the URL of an alias outlived it")
	}
	acme.must(s.DeleteFunction(ctx, acme.may(ActionDeleteFunction, "f"), "f", ""))
	if _, found := s.URL(again.ID); found {
		t.Error("the URL of a function outlived it")
	}
}

// TestURLsOutliveTheNode: another node, and this one after a start, lead the
// same ids to the same functions.
func TestURLsOutliveTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	u, err := acme.createURL(URLInput{Name: "f", Auth: "NONE"})
	acme.must(err)
	if to, found := w.open().URL(u.ID); !found || to.Name != "f" || to.Account != acme.account {
		t.Errorf("after a start it leads to %+v", to)
	}
}

// TestNoPublicURLForEndTenants: whoever called it could take any tenant's place.
func TestNoPublicURLForEndTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	in := acme.input("many", "many")
	in.Tenancy = function.PerTenant
	acme.active(in)
	_, err := acme.createURL(URLInput{Name: "many", Auth: "NONE"})
	if text := wants(t, err, fault.Invalid, "InvalidParameterValueException"); !strings.Contains(text, "AWS_IAM") {
		t.Errorf("it does not say what to do: %s", text)
	}
	_, err = acme.createURL(URLInput{Name: "many", Auth: "AWS_IAM"})
	acme.must(err)
	_, err = s.UpdateURL(ctx, acme.may(ActionUpdateURL, "many"), URLInput{Name: "many", Auth: "NONE"})
	wants(t, err, fault.Invalid, "InvalidParameterValueException")
}

// TestPublicURLsLetNoTenantIn: the statement that makes a URL public is no way
// from one tenant to another, and every wider one still is.
func TestPublicURLsLetNoTenantIn(t *testing.T) {
	t.Parallel()
	g := gatedWorld(t)
	allow := func(id string, change func(*PermissionInput)) error {
		in := PermissionInput{Name: "f", StatementID: id, Action: iam.InvokeURLAction, Principal: "*", URLAuthType: "NONE"}
		change(&in)
		_, err := g.s.AddPermission(ctx, g.acme.may(ActionAddPermission, "f"), in)
		return err
	}
	g.acme.active(g.acme.input("f", "f"))
	must(t, allow("public", func(*PermissionInput) {}))
	for name, change := range map[string]func(*PermissionInput){
		"signed": func(in *PermissionInput) { in.URLAuthType = "AWS_IAM" },
		"both":   func(in *PermissionInput) { in.URLAuthType = "" },
		"calls":  func(in *PermissionInput) { in.Action, in.URLAuthType = iam.InvokeAction, "" },
		"globex": func(in *PermissionInput) { in.Principal, in.URLAuthType = string(g.globex.account), "AWS_IAM" },
	} {
		wants(t, allow(name, change), fault.Denied, CodeIsolationViolation)
	}
}
