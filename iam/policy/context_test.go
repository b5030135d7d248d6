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
	c.Set("aws:username", "x")
	for i := range 1000 { // some of them have the bit of a key that is there
		if _, found := c.Get("aws:" + strings.Repeat("x", i)); found {
			t.Error("there is a key that was not set, of", i, "letters")
		}
	}
	var none *Context
	if _, found := none.Get("aws:username"); found {
		t.Error("a nil context has a key")
	}
}

type filler struct{ times int }

func (f *filler) Fill(c *Context) {
	f.times++
	c.Set("aws:username", "late")
}

// TestFillLater looks for keys in every way there is.
func TestFillLater(t *testing.T) {
	for name, look := range map[string]func(*Context){
		"Get":  func(c *Context) { c.Get("aws:userid") },
		"Set":  func(c *Context) { c.Set("aws:userid", "a") },
		"Keys": func(c *Context) { c.Keys(func(string, []string, bool) {}) },
	} {
		var c Context
		var f filler
		c.Set("aws:userid", "before")
		c.FillLater(&f)
		if f.times != 0 {
			t.Error(name, "was not waited for")
		}
		look(&c)
		look(&c)
		if v, found := c.Get("aws:username"); f.times != 1 || !found || v[0] != "late" {
			t.Errorf("%s: filled in %d times, with %v", name, f.times, v)
		}
		if v, found := c.Get("aws:userid"); found && v[0] == "before" {
			t.Error(name, "kept what was there before")
		}
		c.FillLater(&f)
		c.Reset()
		if _, found := c.Get("aws:username"); found || f.times != 1 {
			t.Error(name, "filled in what was reset")
		}
	}
}
