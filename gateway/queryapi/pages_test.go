package queryapi

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// element is any part of a reply.
type element struct {
	XMLName xml.Name
	Text    string    `xml:",chardata"`
	Inner   string    `xml:",innerxml"`
	Parts   []element `xml:",any"`
}

func (e element) part(name string) element {
	for _, p := range e.Parts {
		if p.XMLName.Local == name {
			return p
		}
	}
	return element{}
}

// lists gives what the lists of a reply have in them, by the lists' names.
func (e element) lists() map[string][]string {
	found := map[string][]string{}
	for _, list := range e.Parts {
		for _, member := range list.Parts {
			if member.XMLName.Local == "member" {
				found[list.XMLName.Local] = append(found[list.XMLName.Local], member.Inner)
			}
		}
	}
	return found
}

// furnish makes two or three of everything that can be listed, under the names
// that exampleForm gives.
func (b *bench) furnish(t testing.TB, c *iam.Client) {
	t.Helper()
	ctx := t.Context()
	var tags []types.Tag
	for i := range 3 {
		n := str(fmt.Sprint("n", i))
		tags = append(tags, types.Tag{Key: n, Value: n})
	}
	example := str("example")
	ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: example, Tags: tags}))
	ok[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: example, AssumeRolePolicyDocument: str(trustPolicy), Tags: tags}))
	ok[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: example}))
	ok[*iam.CreateOpenIDConnectProviderOutput](t)(c.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: str("https://idp.example"), Tags: tags}))
	none := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: str("none"), PolicyDocument: str(readPolicy), Tags: tags})).Policy.Arn
	for i := range 3 {
		n := str(fmt.Sprint("n", i))
		ok[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: n}))
		ok[*iam.CreateGroupOutput](t)(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: n}))
		ok[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: n, UserName: example}))
		ok[*iam.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: example, UserName: n}))
		ok[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: example, PolicyName: n, PolicyDocument: str(readPolicy)}))
		ok[*iam.PutGroupPolicyOutput](t)(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: example, PolicyName: n, PolicyDocument: str(readPolicy)}))
		ok[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: example, PolicyName: n, PolicyDocument: str(readPolicy)}))
		arn := must[*iam.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: n, PolicyDocument: str(readPolicy)})).Policy.Arn
		ok[*iam.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: none, PolicyDocument: str(readPolicy)}))
		ok[*iam.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: example, PolicyArn: arn}))
		ok[*iam.AttachGroupPolicyOutput](t)(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: example, PolicyArn: arn}))
		ok[*iam.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: example, PolicyArn: arn}))
		ok[*iam.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: n, PolicyArn: none}))
	}
	for range 2 {
		ok[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: example}))
	}
}

// TestPagesMakeTheWhole reads every list that has pages one by one, and finds
// in them what the whole list has, in its order.
func TestPagesMakeTheWhole(t *testing.T) {
	t.Parallel()
	b, c := sdk(t)
	b.furnish(t, c)
	special := map[string]string{
		"ListAccessKeys":          "&UserName=example",
		"SimulateCustomPolicy":    "&PolicyInputList.member.1=" + url.QueryEscape(readPolicy) + "&ActionNames.member.1=iam:GetUser&ActionNames.member.2=iam:GetRole&ActionNames.member.3=s3:GetObject",
		"SimulatePrincipalPolicy": "&PolicySourceArn=" + b.arn("user", "admin") + "&ActionNames.member.1=iam:GetUser&ActionNames.member.2=iam:GetRole&ActionNames.member.3=s3:GetObject",
	}
	single := map[string]bool{ // there is one of it, or none
		"ListAccountAliases": true, "ListInstanceProfilesForRole": true, "ListMFADevices": true, "ListSSHPublicKeys": true,
		"ListServiceSpecificCredentials": true, "ListSigningCertificates": true, "ListVirtualMFADevices": true,
	}
	lists := 0
	for name, op := range iamAPI().operations {
		if op.serve == nil {
			continue
		}
		if _, paged := op.input.FieldByName("Marker"); !paged {
			continue
		}
		lists++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form := "Action=" + name + "&Version=2010-05-08"
			if more, is := special[name]; is {
				form += more
			} else {
				form += exampleForm(op.input, "", b)
			}
			ask := func(more string) element {
				got := b.post(t, ServiceIAM, form+more)
				var reply element
				if err := xml.Unmarshal([]byte(got.body), &reply); got.status != 200 || err != nil {
					t.Fatalf("%s%s: %d %s %v", form, more, got.status, got.body, err)
				}
				return reply.part(name + "Result")
			}
			whole := ask("&MaxItems=1000")
			if whole.part("IsTruncated").Text != "false" {
				t.Fatalf("the whole list is truncated: %s", whole.Inner)
			}
			got, pages, marker := map[string][]string{}, 0, ""
			for ; pages == 0 || marker != ""; pages++ {
				page := ask("&MaxItems=1" + marker)
				count := 0
				for list, members := range page.lists() {
					got[list] = append(got[list], members...)
					count += len(members)
				}
				if count > 1 || pages > 60 {
					t.Fatalf("page %d has %d items: %s", pages, count, page.Inner)
				}
				truncated := page.part("IsTruncated").Text
				next := page.part("Marker").Text
				if (truncated == "true") != (next != "") {
					t.Fatalf("truncated %s, marker %q", truncated, next)
				}
				if marker = ""; next != "" {
					marker = "&Marker=" + url.QueryEscape(next)
				}
			}
			if want := whole.lists(); !reflect.DeepEqual(got, want) {
				t.Errorf("pages have %v, the whole %v", got, want)
			}
			if pages < 2 && !single[name] {
				t.Errorf("there was one page, which shows nothing: %s", whole.Inner)
			}
		})
	}
	if lists < 25 {
		t.Errorf("only %d lists were tried", lists)
	}
}
