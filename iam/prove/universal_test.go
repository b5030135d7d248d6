package prove_test

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/policy"
	. "github.com/carrel-dev/carrel/iam/prove"
)

// parse reads a policy, or a list of statements of Version 2012-10-17.
func parse(t testing.TB, kind policy.Kind, text string) *policy.Document {
	t.Helper()
	if !strings.Contains(text, `"Statement"`) {
		text = `{"Version":"2012-10-17","Statement":[` + text + `]}`
	}
	d, _, err := policy.Parse(kind, []byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

func universal(t testing.TB, text string) Report {
	t.Helper()
	return New().Universal(Question{Policies: []Policy{{Name: "data-access", Document: parse(t, policy.Identity, text)}}})
}

func allow(action, resource string) string {
	return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`
}

func TestOrdinaryPolicies(t *testing.T) {
	t.Parallel()
	get := func(r string) string { return allow("s3:GetObject", "arn:aws:s3:::"+r) }
	for _, test := range []struct {
		name, policy string
		want         Result
		code, text   string
	}{
		{"bucket of the tenant", get("myapp-${tenant_id}/*"), Proved, "", ""},
		{"segment of the tenant", get("shared/${tenant_id}/*"), Proved, "", ""},
		{"segment by tag", get("shared/${aws:PrincipalTag/tenant_id}/*"), Proved, "", ""},
		{"segment by account", get("shared/${carrel:AccountTenant}/*"), Proved, "", ""},
		{"administrator", allow("*", "*"), Proved, "", ""},
		{"all buckets", allow("s3:*", "arn:aws:s3:::*"), Proved, "", ""},
		{"all objects", allow("s3:*", "arn:aws:s3:::*/*"), Proved, "", ""},
		{"all actions", allow("s3:*", "arn:aws:s3:::shared/${tenant_id}/*"), Proved, "", ""},
		{"one object", get("shared/${tenant_id}/logo.png"), Proved, "", ""},
		{"prefix", get("shared/${tenant_id}*"), Violated, "PREFIX_WITHOUT_DELIMITER", "arn:aws:s3:::shared/acme7/x"},
		{"bucket prefix", get("myapp-${tenant_id}*"), Violated, "PREFIX_WITHOUT_DELIMITER", ""},
		{"bucket suffix", get("*-${tenant_id}/*"), Violated, "WRONG_SLOT", ""},
		{"wrong slot", get("shared/*/${tenant_id}/*"), Violated, "WRONG_SLOT", ""},
		{"no tenant", get("shared/*"), Violated, "NO_TENANT", ""},
		{"literal tenant", get("shared/acme/*"), Violated, "LITERAL_TENANT", ""},
		{"free tag", get("shared/${aws:PrincipalTag/team}/*"), Violated, "FREE_VARIABLE", ""},
		{"old version", `{"Statement":[` + get("shared/${tenant_id}/*") + `]}`, Proved, "", ""},
		{"broad and narrow", get("shared/${tenant_id}/*") + "," + allow("s3:*", "*"), Violated, "NO_TENANT", ""},
		{"list of all", allow("s3:ListBucket", "arn:aws:s3:::shared"), Violated, "LISTS_OTHER_TENANTS", ""},
		{"list of own bucket", allow("s3:ListBucket", "arn:aws:s3:::myapp-${tenant_id}"), Proved, "", ""},
		{"bucket control", allow("s3:PutBucketPolicy", "arn:aws:s3:::shared"), Violated, "CONTROLS_SHARED_BUCKET", ""},
		{"bucket location", allow("s3:GetBucketLocation", "arn:aws:s3:::shared"), Proved, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := universal(t, test.policy)
			for _, f := range append(r.Findings, r.Warnings...) {
				t.Log(f.Result, f.Code, f.Message)
			}
			if r.Result != test.want {
				t.Fatalf("%s, want %s", r.Result, test.want)
			}
			if test.want != Violated {
				return
			}
			if f := r.Findings[0]; test.code != f.Code || !strings.Contains(f.Message, test.text) {
				t.Fatalf("code %s, message %q; want %s with %q", f.Code, f.Message, test.code, test.text)
			}
		})
	}
}
