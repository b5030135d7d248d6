package policy

import (
	"slices"
	"strings"
	"testing"
)

// allowing is an Allow of s3:GetObject with more in it.
func allowing(more string) string {
	return one(`{'Effect':'Allow','Action':'s3:GetObject',` + more + `}`)
}

func on(resource string) string { return allowing(`'Resource':'arn:aws:s3:::` + resource + `'`) }

func given(effect, condition string) string {
	return one(`{'Effect':'` + effect + `','Action':'s3:GetObject','Resource':'*','Condition':` + condition + `}`)
}

func doing(action, resource string) string {
	return one(`{'Effect':'Allow','Action':'` + action + `','Resource':'` + resource + `'}`)
}

// TestWarnings has each pitfall with its code and place, and beside it a
// policy that is much the same and has none.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const resource = "$.Statement[0].Resource"
	key := func(operator, key string) string { return "$.Statement[0].Condition" + step(operator) + step(key) }
	old := func(text string) string { return strings.Replace(text, "2012-10-17", "2008-10-17", 1) }
	for _, tt := range []struct {
		name string
		kind Kind
		text string
		// want are codes and places; none means that nothing is found.
		want []string
	}{
		{"the pooled policy", Identity, on("myapp-${tenant_id}/*"), nil},
		{"an administrator", Identity, one(allowAll), nil},
		{"an administrator, spelled out", Identity, doing("*:*", "*"), nil},
		{"a service's administrator", Identity, doing("dynamodb:*", "arn:aws:dynamodb:*:*:table/t"), []string{WarnTagging, "$.Statement[0].Action"}},

		{"a prefix", Identity, on("b/${tenant_id}*"), []string{WarnPrefix, resource}},
		{"a prefix of one", Identity, on("b/${tenant_id}?"), []string{WarnPrefix, resource}},
		{"a prefix with a dash", Identity, on("b/${tenant_id}-*"), []string{WarnPrefix, resource}},
		{"a prefix before a variable", Identity, on("b/${tenant_id}${aws:username}*"), []string{WarnPrefix, resource, WarnPrefix, resource}},
		{"the second of a list", Identity, allowing(`'Resource':['arn:aws:s3:::b','arn:aws:s3:::${aws:username}*']`), []string{WarnPrefix, resource + "[1]"}},
		{"a bounded prefix", Identity, on("b/${tenant_id}/x*"), nil},
		{"a colon bounds", Identity, doing("lambda:InvokeFunction", "arn:aws:lambda:r:111111111111:function:${tenant_id}:*"), nil},
		{"no wildcard", Identity, on("b/${tenant_id}.json"), nil},
		{"a Deny of more", Identity, one(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3:::b/${tenant_id, \u0027x\u0027}*'}`), nil},
		{"a Deny of too few others", Identity, one(`{'Effect':'Deny','Action':'*','NotResource':'arn:aws:s3:::b/${tenant_id}*'}`), []string{WarnPrefix, "$.Statement[0].NotResource"}},
		{"a statement that is no list", Identity, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::${aws:userid}*"}}`, []string{WarnPrefix, "$.Statement.Resource"}},
		{"a suffix", Identity, on("*-${tenant_id}/k"), []string{WarnSuffix, resource}},
		{"the wrong slot", Identity, on("*/${tenant_id}/k"), []string{WarnSlot, resource}},
		{"a wildcard behind the slot", Identity, on("b/${tenant_id}/*/k"), nil},
		{"a prefix in a condition", Identity, given("Allow", `{'StringLike':{'s3:prefix':'${tenant_id}*'}}`), []string{WarnPrefix, key("StringLike", "s3:prefix")}},
		{"a Deny that leaves out too much", Identity, given("Deny", `{'StringNotLike':{'s3:prefix':['x','${tenant_id}*']}}`), []string{WarnPrefix, key("StringNotLike", "s3:prefix") + "[1]"}},
		{"an ARN in a condition", Identity, given("Allow", `{'ArnLike':{'aws:SourceArn':'arn:aws:s3:::${tenant_id}*'}}`), []string{WarnPrefix, key("ArnLike", "aws:SourceArn")}},
		{"a bounded condition", Identity, given("Allow", `{'StringLike':{'s3:prefix':'${tenant_id}/*'}}`), nil},
		{"a tag's value", Identity, on("b/${aws:PrincipalTag/team}/*"), []string{WarnEmpty, resource}},
		{"an empty default", Identity, strings.Replace(on("b/${tenant_id, X}/*"), "X", "''", 1), []string{WarnEmpty, resource}},
		{"the platform's tag", Identity, on("b/${aws:PrincipalTag/tenant_id}/*"), nil},

		{"an old version", Identity, old(on("b-${tenant_id}/*")), []string{WarnLiteralVariable, resource}},
		{"an old version's condition", Identity, old(given("Allow", `{'StringEquals':{'s3:prefix':'${tenant_id}'}}`)), []string{WarnLiteralVariable, key("StringEquals", "s3:prefix")}},
		{"an old version without", Identity, old(on("b/*")), nil},
		{"a wildcard in StringEquals", Identity, given("Allow", `{'StringEquals':{'s3:prefix':'a/*'}}`), []string{WarnLiteralWildcard, key("StringEquals", "s3:prefix")}},
		{"a wildcard that is meant", Identity, given("Allow", `{'StringEquals':{'s3:prefix':'a/${*}'}}`), nil},
		{"a Deny that needs a variable", Identity, one(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3:::b/${tenant_id}/secret'}`), []string{WarnDenyVariable, resource}},

		{"NotAction", Identity, one(`{'Effect':'Allow','NotAction':'iam:*','Resource':'*'}`), []string{WarnNotAction, "$.Statement[0].NotAction"}},
		{"NotAction denied", Identity, one(`{'Effect':'Deny','NotAction':'iam:*','Resource':'*'}`), nil},
		{"NotResource", Identity, allowing(`'NotResource':'arn:aws:s3:::b/*'`), []string{WarnNotResource, "$.Statement[0].NotResource"}},
		{"NotPrincipal", Resource, notPrincipal(alice), []string{WarnNotPrincipal, "$.Statement[0].NotPrincipal"}},

		{"ForAllValues", Identity, given("Allow", `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}`), []string{WarnForAllValues, key("ForAllValues:StringEquals", "aws:TagKeys")}},
		{"ForAllValues and Null", Identity, given("Allow", `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'},'Null':{'aws:TagKeys':'false'}}`), nil},
		{"ForAllValues and the wrong Null", Identity, given("Allow", `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'},'Null':{'aws:TagKeys':'true'}}`), []string{WarnForAllValues, key("ForAllValues:StringEquals", "aws:TagKeys")}},
		{"ForAllValues in a Deny", Identity, given("Deny", `{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}`), nil},
		{"ForAnyValue", Identity, given("Allow", `{'ForAnyValue:StringEquals':{'aws:TagKeys':'a'}}`), nil},
		{"an inverted operator", Identity, given("Allow", `{'StringNotEquals':{'aws:username':'root'}}`), []string{WarnInverted, key("StringNotEquals", "aws:username")}},
		{"an inverted operator on what is there", Identity, given("Allow", `{'StringNotEquals':{'aws:RequestedRegion':'r'}}`), nil},
		{"an inverted operator and another", Identity, given("Allow", `{'StringNotEquals':{'aws:username':'a'},'StringLike':{'aws:username':'?*'}}`), nil},
		{"an inverted Deny", Identity, given("Deny", `{'StringNotEquals':{'aws:username':'root'}}`), nil},
		{"IfExists on the tenant", Identity, given("Allow", `{'StringEqualsIfExists':{'tenant_id':'acme'}}`), []string{WarnIfExists, key("StringEqualsIfExists", "tenant_id")}},
		{"IfExists elsewhere", Identity, given("Allow", `{'StringEqualsIfExists':{'aws:username':'a'}}`), nil},
		{"a set without a set operator", Identity, given("Deny", `{'StringEquals':{'aws:TagKeys':'a'}}`), []string{WarnSingle, key("StringEquals", "aws:TagKeys")}},
		{"and in an Allow", Identity, given("Allow", `{'StringEquals':{'aws:PrincipalOrgPaths':'a'}}`), []string{WarnSingle, key("StringEquals", "aws:PrincipalOrgPaths")}},
		{"Null of a set", Identity, given("Allow", `{'Null':{'aws:TagKeys':'false'}}`), nil},
		{"tags by case", Identity, given("Allow", `{'StringEquals':{'aws:PrincipalTag/Team':'a','aws:ResourceTag/team':'a'},'StringLike':{'aws:principaltag/team':'a'}}`), []string{WarnTagCase, key("StringLike", "aws:principaltag/team")}},
		{"tags in one spelling", Identity, given("Allow", `{'StringEquals':{'aws:PrincipalTag/team':'a'},'StringLike':{'aws:principaltag/team':'a'}}`), nil},
		{"a tenant's id by any case", Identity, given("Allow", `{'StringEqualsIgnoreCase':{'tenant_id':'a'}}`), []string{WarnIgnoreCase, key("StringEqualsIgnoreCase", "tenant_id")}},
		{"a tenant's id as value", Identity, given("Allow", `{'StringEqualsIgnoreCase':{'s3:prefix':'${tenant_id}'}}`), []string{WarnIgnoreCase, key("StringEqualsIgnoreCase", "s3:prefix")}},
		{"another key by any case", Identity, given("Allow", `{'StringEqualsIgnoreCase':{'s3:prefix':'a'}}`), nil},

		{"tagging", Identity, doing("s3:PutObjectTagging", "arn:aws:s3:::b/*"), []string{WarnTagging, "$.Statement[0].Action"}},
		{"tagging with keys", Identity, one(`{'Effect':'Allow','Action':'s3:PutObjectTagging','Resource':'*','Condition':{'ForAllValues:StringEquals':{'aws:TagKeys':'a'},'Null':{'aws:TagKeys':'false'}}}`), nil},
		{"tagging with keys or none", Identity, one(`{'Effect':'Allow','Action':'s3:PutObjectTagging','Resource':'*','Condition':{'ForAllValues:StringEquals':{'aws:TagKeys':'a'}}}`), []string{WarnForAllValues, key("ForAllValues:StringEquals", "aws:TagKeys")}},
		{"tagging with a value", Identity, one(`{'Effect':'Allow','Action':'s3:PutObjectTagging','Resource':'*','Condition':{'StringEquals':{'aws:RequestTag/team':'a'}}}`), nil},
		{"session tags", Trust, one(`{'Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':['sts:AssumeRole','sts:TagSession']}`), []string{WarnTagging, "$.Statement[0].Action[1]"}},
		{"session tags that are the caller's", Trust, one(`{'Effect':'Allow','Principal':{'AWS':'111111111111'},'Action':['sts:AssumeRole','sts:TagSession'],'Condition':{'StringEquals':{'aws:RequestTag/tenant_id':'${aws:PrincipalTag/tenant_id}'}}}`), nil},
		{"policy writes", Identity, doing("iam:*Policy", "*"), []string{WarnPolicyWrite, "$.Statement[0].Action"}},
		{"policy writes on every role", Identity, doing("iam:PutRolePolicy", "arn:aws:iam::111111111111:role/*"), []string{WarnPolicyWrite, "$.Statement[0].Action"}},
		{"policy writes on some roles", Identity, doing("iam:PutRolePolicy", "arn:aws:iam::111111111111:role/app/*"), nil},
		{"policy writes under a boundary", Identity, one(`{'Effect':'Allow','Action':'iam:PutRolePolicy','Resource':'*','Condition':{'StringEquals':{'iam:PermissionsBoundary':'arn:aws:iam::111111111111:policy/b'}}}`), nil},
		{"all of IAM", Identity, doing("iam:*", "*"), []string{WarnTagging, "$.Statement[0].Action", WarnPolicyWrite, "$.Statement[0].Action", WarnPassRole, "$.Statement[0].Action"}},
		{"passing any role", Identity, doing("iam:PassRole", "*"), []string{WarnPassRole, "$.Statement[0].Action"}},
		{"passing one", Identity, doing("iam:PassRole", roleR), nil},
		{"passing all but one", Identity, one(`{'Effect':'Allow','Action':'iam:PassRole','NotResource':'` + roleR + `'}`), []string{WarnNotResource, "$.Statement[0].NotResource", WarnPassRole, "$.Statement[0].Action"}},
		{"listing", Identity, doing("lambda:ListFunctions", "*"), []string{WarnNames, "$.Statement[0].Action"}},
		{"listing one bucket", Identity, doing("s3:ListBucket", "arn:aws:s3:::b"), nil},
		{"listing a bucket of many tenants", Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b"},{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${tenant_id}/*"}]}`, []string{WarnNames, "$.Statement[0].Action"}},
		{"listing one's own prefix", Identity, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b","Condition":{"StringLike":{"s3:prefix":"${tenant_id}/*"}}},{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${tenant_id}/*"}]}`, nil},

		{"a service for anybody", Resource, allowing(`'Principal':{'Service':'events.amazonaws.com'},'Resource':'*'`), []string{WarnDeputy, "$.Statement[0].Principal"}},
		{"a service for one", Resource, one(`{'Effect':'Allow','Principal':{'Service':'events.amazonaws.com'},'Action':'s3:GetObject','Resource':'*','Condition':{'StringEquals':{'aws:SourceAccount':'111111111111'}}}`), nil},
		{"a service that may say whom", Resource, one(`{'Effect':'Allow','Principal':{'Service':'events.amazonaws.com'},'Action':'s3:GetObject','Resource':'*','Condition':{'StringEqualsIfExists':{'aws:SourceAccount':'111111111111'}}}`), []string{WarnDeputy, "$.Statement[0].Principal"}},
		{"a function's role", Trust, one(`{'Effect':'Allow','Principal':{'Service':'lambda.amazonaws.com'},'Action':'sts:AssumeRole'}`), nil},
		{"everybody", Resource, allowing(`'Principal':'*','Resource':'*'`), []string{WarnPublic, "$.Statement[0].Principal"}},
		{"everybody of the organisation", Resource, allowing(`'Principal':{'AWS':'*'},'Resource':'*','Condition':{'StringEquals':{'aws:PrincipalOrgID':'o-x'}}`), nil},
		{"everybody with a tag", Resource, allowing(`'Principal':'*','Resource':'*','Condition':{'StringEquals':{'aws:PrincipalTag/team':'x'}}`), nil},
		{"everybody but one", Resource, allowing(`'Principal':'*','Resource':'*','Condition':{'StringNotEquals':{'aws:RequestedRegion':'x'}}`), []string{WarnPublic, "$.Statement[0].Principal"}},
		{"everybody denied", Resource, one(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), nil},
		{"an RCP", RCP, one(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`), nil},
		{"a boundary that only denies", Boundary, one(denyAll), []string{WarnAllowsNothing, "$.Statement"}},
		{"a session that allows", Session, one(denyAll + `,` + allowAll), nil},
		{"an SCP that only denies", SCP, one(denyAll), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, warnings, err := Parse(tt.kind, []byte(tt.text))
			if err != nil {
				t.Fatalf("%s: %v", tt.text, err)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.Code, w.Path)
				if w.Message == "" || w.Remedy == "" || strings.Contains(w.Message, "%!") {
					t.Errorf("%+v says too little", w)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s\ngot  %q\nwant %q", tt.text, got, tt.want)
			}
		})
	}
}
