package function

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/tenant"
)

func TestParseReference(t *testing.T) {
	const account = tenant.AccountID("123456789012")
	for text, want := range map[string]Reference{
		"hello":                         {Name: "hello"},
		"hello:7":                       {Name: "hello", Qualifier: "7"},
		"hello:$LATEST":                 {Name: "hello", Qualifier: "$LATEST"},
		"hello:live":                    {Name: "hello", Qualifier: "live"},
		"123456789012:function:hello":   {Account: account, Name: "hello"},
		"123456789012:function:hello:7": {Account: account, Name: "hello", Qualifier: "7"},
		"arn:aws:lambda:us-east-1:123456789012:function:hello":      {Region: "us-east-1", Account: account, Name: "hello"},
		"arn:aws:lambda:us-east-1:123456789012:function:hello:live": {Region: "us-east-1", Account: account, Name: "hello", Qualifier: "live"},
	} {
		got, err := ParseReference(text)
		if err != nil || got != want {
			t.Errorf("ParseReference(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"", ":", "hello:", ":7", "a b", "a/b", "../a", "a%2fb", "hello:a:b", "hello:$OTHER", "héllo", strings.Repeat("a", 65),
		"12345678901:function:hello", "arn:aws:lambda:us-east-1:123456789012:layer:hello", "arn:aws:s3:us-east-1:123456789012:function:hello",
		"arn:aws-cn:lambda:us-east-1:123456789012:function:hello", "arn:aws:lambda:mars:123456789012:function:hello",
		"arn:aws:lambda:us-east-1:123456789012:function:hello:7:8", "arn:aws:lambda:us-east-1::function:hello", strings.Repeat("a", 300),
	} {
		if got, err := ParseReference(bad); err == nil {
			t.Errorf("ParseReference(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestAliasNamesAreNotVersionNumbers(t *testing.T) {
	for name, good := range map[string]bool{"live": true, "v1": true, "1a": true, "1": false, "": false, "$LATEST": false, "a b": false} {
		if _, err := ParseAliasName(name); (err == nil) != good {
			t.Errorf("ParseAliasName(%q): %v, want good %v", name, err, good)
		}
	}
}

func TestRoleGivesItsAccount(t *testing.T) {
	if got, err := ParseRoleARN("arn:aws:iam::123456789012:role/path/fn"); err != nil || got != "123456789012" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"fn", "arn:aws:iam::123456789012:user/fn", "arn:aws:iam::1234:role/fn", "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:role/a b"} {
		if _, err := ParseRoleARN(bad); err == nil {
			t.Errorf("ParseRoleARN(%q) was taken", bad)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("arn:aws:lambda:us-east-1:123456789012:function:hello:live")
	f.Add("hello")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err != nil || r.Account == "" || r.Region == "" {
			return
		}
		if again, err := ParseReference(ARN(r.Region, r.Account, r.Name, r.Qualifier)); err != nil || again != r {
			t.Fatalf("%q reads as %+v, whose ARN reads as %+v, %v", text, r, again, err)
		}
	})
}
