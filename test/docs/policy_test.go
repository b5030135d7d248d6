package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
)

// TestThePolicyPageIsComplete looks for every operator and every warning on
// the page of the language, and reads the policies that it shows.
func TestThePolicyPageIsComplete(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("docs/reference/policy-language.md")
	for _, o := range policy.Operators() {
		if !strings.Contains(page, "`"+o.String()+"`") {
			t.Errorf("the page lacks the operator %s", o)
		}
	}
	codes := regexp.MustCompile(`(?m)^\tWarn\w+ += "(\w+)"$`).FindAllStringSubmatch(read("iam/policy/warn.go"), -1)
	if len(codes) < 20 {
		t.Fatalf("found %d codes of warnings only", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(page, "`"+code[1]+"`") {
			t.Errorf("the page lacks the warning %s", code[1])
		}
	}
	shown := regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllStringSubmatch(page, -1)
	if len(shown) == 0 {
		t.Error("the page shows no policy")
	}
	for _, m := range shown {
		if _, warnings, err := policy.Parse(policy.Identity, []byte(m[1])); err != nil || len(warnings) > 0 {
			t.Errorf("the page shows %s: %v, %v", m[1], err, warnings)
		}
	}
	_, warnings, err := policy.Parse(policy.Identity, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${tenant_id}*"}]}`))
	if err != nil || len(warnings) != 1 {
		t.Fatal(warnings, err)
	}
	w := warnings[0]
	said := strings.Join(strings.Fields(strings.NewReplacer("`", "", "> ", "").Replace(page)), " ")
	if want := w.Code + " at " + w.Path + ": " + w.Message + " " + w.Remedy; !strings.Contains(said, want) {
		t.Errorf("the page does not show %q", want)
	}
}
