package adminapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestUnknownNamesAreRefused goes through the document: a name that an
// operation does not have is refused by each of them, in its body and in its
// query, and so is a known one in other letters.
func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant(t, "globex")
	w.function(t, w.operator, "greeter")
	h := newHandler(Config{Control: w.control})
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody *struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(h.document, &doc); err != nil {
		t.Fatal(err)
	}
	bodies := 0
	for _, r := range routes {
		refused := func(path, body, says string) {
			t.Helper()
			a := w.do(t, w.operator, r.method, path, body)
			if p := a.problem(t); a.status != 422 || p.Kind != "invalid" || !strings.Contains(p.Message+" "+p.Remedy, says) {
				t.Errorf("%s %s %s: %d %s, want %q", r.method, path, body, a.status, a.body, says)
			}
		}
		refused(r.path+"?nosuchthing=1", r.body, `the parameter "nosuchthing"`)
		if r.body == "" && r.method == "GET" {
			continue
		}
		refused(r.path, `{"noSuchThing":1}`, `the member "noSuchThing"`)
		op := doc.Paths[named.Replace(r.path)][strings.ToLower(r.method)]
		if op.RequestBody == nil {
			continue
		}
		ref := op.RequestBody.Content["application/json"].Schema.Ref
		names := doc.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]].Properties
		if len(names) == 0 {
			t.Errorf("%s %s takes a body without members", r.method, r.path)
		}
		for name := range names {
			if name == "$schema" {
				continue
			}
			refused(r.path, fmt.Sprintf(`{%q:1}`, strings.ToUpper(name)), fmt.Sprintf("Did you mean %q?", name))
			bodies++
		}
	}
	if bodies < 10 {
		t.Errorf("%d names were tried; the document is read wrongly", bodies)
	}
}

func TestStrictBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		path, body, says string
		status           int
	}{
		"a name twice":        {"/v1/tenants", `{"tenantId":"acme","tenantId":"evil"}`, "stands twice", 400},
		"a name in two cases": {"/v1/tenants", `{"tenantId":"acme","TenantID":"evil"}`, `Did you mean "tenantId"?`, 422},
		"misspelt":            {"/v1/tenants", `{"tenantId":"acme","paln":"default"}`, `Did you mean "plan"?`, 422},
		"too deep":            {"/v1/tenants", strings.Repeat(`{"tags":`, 40) + "1" + strings.Repeat("}", 40), "levels deep", 400},
		"not UTF-8":           {"/v1/tenants", "{\"tenantId\":\"\xff\"}", "UTF-8", 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do(t, w.operator, "POST", c.path, c.body)
			if p := a.problem(t); a.status != c.status || !strings.Contains(p.Message+" "+p.Remedy, c.says) {
				t.Errorf("%d %s, want %d %q", a.status, a.body, c.status, c.says)
			}
		})
	}
	if a := w.do(t, w.operator, "GET", "/v1/tenants?limit=1&limit=2", ""); a.status != 400 || !strings.Contains(a.body, "stands 2 times") {
		t.Errorf("a parameter twice: %d %s", a.status, a.body)
	}
	// The twin: tags have any names.
	if a := w.do(t, w.operator, "POST", "/v1/tenants", `{"tenantId":"acme","tags":{"Any Name":"x"}}`); a.status != 201 {
		t.Errorf("a tenant with tags: %d %s", a.status, a.body)
	}
	if a := w.do(t, w.operator, "GET", "/v1/tenants?limt=3", ""); !strings.Contains(a.body, `Did you mean \"limit\"?`) {
		t.Errorf("a misspelt parameter: %s", a.body)
	}
}
