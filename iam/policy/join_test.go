package policy

import (
	"reflect"
	"testing"
)

// TestJoinSaysWhatCompileSays asks about the same policies put together in
// either way.
func TestJoinSaysWhatCompileSays(t *testing.T) {
	t.Parallel()
	source := func(name, text string) Source {
		doc, _, err := Parse(Resource, []byte(`{"Version":"2012-10-17","Statement":[`+text+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		return Source{Name: name, Document: doc}
	}
	all := []Source{
		source("reads", `{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"s3:Get*","Resource":"arn:aws:s3:::a/*"}`),
		source("named", `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/u"},"Action":"s3:*","Resource":"arn:aws:s3:::a/b/*"}`),
		source("never", `{"Effect":"Deny","Principal":"*","Action":"s3:Put*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Resource":"arn:aws:s3:::a/secret"}`),
	}
	for n := range len(all) + 1 {
		var parts []*Set
		for _, s := range all[:n] {
			parts = append(parts, Compile(s))
		}
		whole, joined := Compile(all[:n]...), Join(parts...)
		for _, action := range []string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"} {
			for _, resource := range []string{"arn:aws:s3:::a/x", "arn:aws:s3:::a/b/x", "arn:aws:s3:::a/secret", "arn:aws:s3:::c"} {
				for _, account := range []string{"111111111111", "222222222222"} {
					r := &Request{
						Action: action, Resource: resource, ResourceAccount: account, Context: &Context{},
						Principal: Principal{Type: User, Account: "111111111111", ARN: "arn:aws:iam::111111111111:user/u"},
					}
					if want, got := Evaluate(r, &Layers{Resource: whole}), Evaluate(r, &Layers{Resource: joined}); got != want {
						t.Errorf("%d policies, %s on %s: %+v, want %+v", n, action, resource, got, want)
					}
					if want, got := Explain(r, &Layers{Resource: whole}), Explain(r, &Layers{Resource: joined}); !reflect.DeepEqual(got, want) {
						t.Errorf("%d policies, %s on %s: %+v, want %+v", n, action, resource, got, want)
					}
				}
			}
		}
	}
}
