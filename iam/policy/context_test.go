package policy

import (
	"strings"
	"testing"
)

func TestContext(t *testing.T) {
	var c Context
	c.Set("aws:UserName", "a")
	c.SetAll("AWS:username", []string{"b", "c"})
	if v, found := c.Get("aws:username"); !found || strings.Join(v, " ") != "b c" {
		t.Error("SetAll did not replace:", v, found)
	}
	c.Set("aws:username", "d")
	c.Set("tenant_id", "acme")
	if v, _ := c.Get("carrel:TenantId"); strings.Join(v, " ") != "acme" {
		t.Error("tenant_id is not carrel:TenantId:", v)
	}
	seen := ""
	c.Keys(func(key string, values []string, several bool) { seen += key + "=" + strings.Join(values, ",") + ";" })
	if seen != "aws:UserName=d;carrel:tenantid=acme;" {
		t.Error("keys are", seen)
	}
	c.Reset()
	if _, found := c.Get("aws:username"); found {
		t.Error("a key outlived Reset")
	}
	if n := testing.AllocsPerRun(100, func() { c.Reset(); c.Set("aws:username", "x"); c.Set("Tenant_ID", "y") }); n != 0 {
		t.Errorf("filling a used context allocates %v times", n)
	}
	var none *Context
	if _, found := none.Get("aws:username"); found {
		t.Error("a nil context has a key")
	}
}
