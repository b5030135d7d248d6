package policy

import (
	"strings"
	"testing"
)

// TestActionsAndResources holds the matcher to IAM.md 1.3 to 1.5.
func TestActionsAndResources(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 5000)
	for name, tt := range map[string]struct {
		version          Version
		elements         string
		action, resource string
		want             bool
	}{
		"action's case":               {Version2012, `"Action":"S3:getOBJECT","Resource":"*"`, "s3:GetObject", "*", true},
		"action's star":               {Version2012, `"Action":"s3:*Obj*Tag*","Resource":"*"`, "s3:GetObjectTagging", "*", true},
		"action's star, case":         {Version2012, `"Action":"s3:*tagg*ING","Resource":"*"`, "s3:GetObjectTagging", "*", true},
		"action's mark":               {Version2012, `"Action":"s3:?et*","Resource":"*"`, "s3:PutObject", "*", false},
		"another service":             {Version2012, `"Action":"s3:*","Resource":"*"`, "s3express:GetObject", "*", false},
		"NotAction":                   {Version2012, `"NotAction":["iam:*","s3:*"],"Resource":"*"`, "s3:GetObject", "*", false},
		"NotAction, another":          {Version2012, `"NotAction":["iam:*","s3:*"],"Resource":"*"`, "ec2:Run", "*", true},
		"exact":                       {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/k"`, "s3:G", "arn:aws:s3:::b/k", true},
		"exact and longer":            {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/k"`, "s3:G", "arn:aws:s3:::b/kk", false},
		"resource's case":             {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/K"`, "s3:G", "arn:aws:s3:::b/k", false},
		"star spans all":              {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/*"`, "s3:G", "arn:aws:s3:::b/a/b:c\nd", true},
		"star, empty":                 {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/*"`, "s3:G", "arn:aws:s3:::b/", true},
		"no star over a colon":        {Version2012, `"Action":"*","Resource":"arn:aws:lambda:*:function:f:1"`, "s3:G", "arn:aws:lambda:eu:1:function:f:1", false},
		"star in the account":         {Version2012, `"Action":"*","Resource":"arn:aws:lambda:*:1*:function:f"`, "s3:G", "arn:aws:lambda:eu:123456789012:function:f", true},
		"stars":                       {Version2012, `"Action":"*","Resource":"arn:aws:s3:::*a*b*a"`, "s3:G", "arn:aws:s3:::xxabba", true},
		"stars that overlap":          {Version2012, `"Action":"*","Resource":"arn:aws:s3:::aba*aba"`, "s3:G", "arn:aws:s3:::ababa", false},
		"mark is a character":         {Version2012, `"Action":"*","Resource":"arn:aws:s3:::?/k"`, "s3:G", "arn:aws:s3:::é/k", true},
		"mark is one":                 {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b?"`, "s3:G", "arn:aws:s3:::b", false},
		"mark after a star":           {Version2012, `"Action":"*","Resource":"arn:aws:s3:::*?b*"`, "s3:G", "arn:aws:s3:::bb", true},
		"mark before nothing":         {Version2012, `"Action":"*","Resource":"arn:aws:s3:::x*?"`, "s3:G", "arn:aws:s3:::x", false},
		"no place for a mark":         {Version2012, `"Action":"*","Resource":"arn:aws:s3:::x*?y*z"`, "s3:G", "arn:aws:s3:::xy", false},
		"star alone takes no ARN":     {Version2012, `"Action":"*","Resource":"arn:aws:s3:::*"`, "s3:G", "*", false},
		"all takes what is no ARN":    {Version2012, `"Action":"*","Resource":"*"`, "s3:G", "*", true},
		"NotResource":                 {Version2012, `"Action":"*","NotResource":"arn:aws:s3:::b/*"`, "s3:G", "arn:aws:s3:::b/k", false},
		"NotResource, another":        {Version2012, `"Action":"*","NotResource":"arn:aws:s3:::b/*"`, "s3:G", "arn:aws:s3:::c/k", true},
		"variable":                    {Version2012, `"Action":"*","Resource":"arn:aws:s3:::myapp-${tenant_id}/*"`, "s3:G", "arn:aws:s3:::myapp-acme/k", true},
		"another tenant":              {Version2012, `"Action":"*","Resource":"arn:aws:s3:::myapp-${tenant_id}/*"`, "s3:G", "arn:aws:s3:::myapp-acme2/k", false},
		"variable's case":             {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${CARREL:tenantID}"`, "s3:G", "arn:aws:s3:::acme", true},
		"variable twice":              {Version2012, `"Action":"*","Resource":"arn:aws:s3:::*${tenant_id}*${tenant_id}"`, "s3:G", "arn:aws:s3:::xacmeacme", true},
		"variable's value is literal": {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/star}"`, "s3:G", "arn:aws:s3:::x", false},
		"and equals itself":           {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/star}"`, "s3:G", "arn:aws:s3:::*", true},
		"no value":                    {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${aws:username}*"`, "s3:G", "arn:aws:s3:::", false},
		"no value in NotResource":     {Version2012, `"Action":"*","NotResource":"arn:aws:s3:::${aws:username}"`, "s3:G", "arn:aws:s3:::x", true},
		"default":                     {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${aws:username, 'x*'}"`, "s3:G", "arn:aws:s3:::x*", true},
		"default with a value":        {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${tenant_id, 'x'}"`, "s3:G", "arn:aws:s3:::x", false},
		"set of values":               {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${aws:TagKeys}"`, "s3:G", "arn:aws:s3:::one", false},
		"empty value":                 {Version2012, `"Action":"*","Resource":"arn:aws:s3:::b/${aws:PrincipalTag/empty}/*"`, "s3:G", "arn:aws:s3:::b//x", true},
		"escapes":                     {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${*}${?}${$}"`, "s3:G", "arn:aws:s3:::*?$", true},
		"escapes are literal":         {Version2012, `"Action":"*","Resource":"arn:aws:s3:::${*}"`, "s3:G", "arn:aws:s3:::x", false},
		"old version":                 {Version2008, `"Action":"*","Resource":"arn:aws:s3:::${tenant_id}"`, "s3:G", "arn:aws:s3:::acme", false},
		"old version, literally":      {Version2008, `"Action":"*","Resource":"arn:aws:s3:::${tenant_id}"`, "s3:G", "arn:aws:s3:::${tenant_id}", true},
		"long action":                 {Version2012, `"Action":"*","Resource":"*"`, "s3:" + long, "*", false},
		"long resource":               {Version2012, `"Action":"*","Resource":"*"`, "s3:G", "arn:aws:s3:::" + long, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _, err := Parse(Identity, []byte(in(tt.version, `"Effect":"Allow",`+tt.elements)))
			if err != nil {
				t.Fatal(err)
			}
			r := &Request{Action: tt.action, Resource: tt.resource, ResourceAccount: "111111111111", Principal: asUser(), Context: tenantContext()}
			l := &Layers{Identity: Compile(Source{Document: d})}
			if got := Evaluate(r, l).Verdict == Allowed; got != tt.want {
				t.Errorf("allowed: %v, want %v", got, tt.want)
			}
		})
	}
}

func tenantContext() *Context {
	c := &Context{}
	c.Set("tenant_id", "acme")
	c.Set("aws:PrincipalTag/star", "*")
	c.Set("aws:PrincipalTag/empty", "")
	c.SetAll("aws:TagKeys", []string{"one"})
	return c
}
