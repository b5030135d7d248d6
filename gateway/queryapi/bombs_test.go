package queryapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// TestA34FormBombs sends, properly signed, forms that are as large as they may
// be and as laborious as we could think of. None takes long, and no answer is
// larger than a page; the twin is a request that is answered.
func TestA34FormBombs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	fill := func(unit func(i int) string) string {
		var s strings.Builder
		for i := 0; s.Len() < mostBody-2*mostNameBytes-200; i++ {
			s.WriteString(unit(i))
		}
		return s.String()
	}
	for name, bomb := range map[string]string{
		"parameters":            fill(func(i int) string { return fmt.Sprintf("&p%d=", i) }),
		"separators":            fill(func(int) string { return "&" }),
		"names without a value": fill(func(i int) string { return fmt.Sprintf("&%d", i) }),
		"names of many parts":   fill(func(i int) string { return fmt.Sprintf("&a.b.c.d.e.f.g.%d=", i) }),
		"long names":            fill(func(i int) string { return "&" + strings.Repeat("n", mostNameBytes-8) + fmt.Sprint(i) + "=" }),
		"one long name":         "&" + strings.Repeat("n", mostBody-300),
		"a list":                fill(func(i int) string { return fmt.Sprintf("&Tags.member.%d.Key=k&Tags.member.%d.Value=", i+1, i+1) }),
		"a list with a gap":     "&Tags.member.2147483647.Key=k&Tags.member.99999999999999999999.Value=v",
		"escapes":               "&UserName=" + fill(func(int) string { return "%00" }),
		"broken escapes":        "&UserName=" + fill(func(int) string { return "%" }),
		"a long value":          "&UserName=" + strings.Repeat("a", mostBody-300),
		"bytes of no text":      "&UserName=" + fill(func(int) string { return "%FF" }),
		"a deep policy":         "&PolicyDocument=" + url.QueryEscape(strings.Repeat("[", 300<<10)),
		"a policy of braces":    "&PolicyDocument=" + strings.Repeat("%7B%22a%22%3A", 60<<10),
		"many statements":       "&PolicyDocument=" + url.QueryEscape(`{"Statement":[`+strings.Repeat(`{"Effect":"Deny","Action":"*","Resource":"*"},`, 7<<10)),
		"a wide condition": "&PolicyDocument=" + url.QueryEscape(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"`+
			strings.Repeat("*?", 100<<10)+`"}]}`),
	} {
		for _, action := range []string{"CreateUser", "PutUserPolicy", "SimulateCustomPolicy"} {
			form := "Action=" + action + "&Version=2010-05-08" + bomb
			if action == "PutUserPolicy" {
				form += "&UserName=admin&PolicyName=p"
			}
			form = strings.Replace(form, "&UserName=admin", "", strings.Count(form, "&UserName=")-1)
			if len(form) > mostBody {
				t.Fatalf("%s is too large to be read at all", name)
			}
			began := time.Now()
			got := b.post(t, ServiceIAM, form)
			if took := time.Since(began); got.status < 400 || got.status >= 500 || len(got.body) > 8<<10 || took > 5*time.Second {
				t.Errorf("%s to %s: %d, %d bytes, after %s: %s", name, action, got.status, len(got.body), took, fault.Clip(got.body))
			}
		}
	}
	if got := b.form(t, ServiceIAM, "Action", "CreateUser", "Version", "2010-05-08", "UserName", "twin"); got.status != 200 {
		t.Errorf("the twin: %d %s", got.status, got.body)
	}
}
