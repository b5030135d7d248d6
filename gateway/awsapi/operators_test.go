package awsapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
)

// TestOperatorsHaveNoDataActions has the operators' admin, who may do
// everything by its own policies, ask for every operation of Lambda on a
// tenant's function.
func TestOperatorsHaveNoDataActions(t *testing.T) {
	t.Parallel()
	b := withFunctions(t)
	foreign := b.arn("hello", "")
	operator := b.control.FirstAdmin()
	own := function.ARN(region, operator.AccountID, "hello", "")
	tried := 0
	for _, rt := range servedRoutes() {
		if !strings.Contains(rt.template, "{FunctionName}") && !strings.Contains(rt.template, "{Resource}") {
			continue
		}
		tried++
		for arn, refused := range map[string]bool{foreign: true, own: false} {
			name := url.PathEscape(arn)
			path := strings.NewReplacer("{FunctionName}", name, "{Resource}", name, "{Name}", "live", "{StatementId}", "s1").Replace(rt.template)
			body := []byte(`{}`)
			r := b.request(t, rt.method, path, body)
			signed := *b
			signed.acme = operator
			signed.sign(t, Service, r, body)
			a := do(t, r)
			if denied := a.status == http.StatusForbidden && a.header.Get(headerErrorType) == "AccessDeniedException"; denied != refused {
				t.Errorf("%s on %s: %d %s", rt.operation, arn, a.status, a.body)
			}
		}
	}
	if tried < 25 {
		t.Errorf("tried %d operations only", tried)
	}
	equal(t, "calls that ran", len(b.invoker.calls), 0)
	in := b.createInput("other")
	in.FunctionName = aws.String(b.arn("other", ""))
	_, err := b.client(operator).CreateFunction(t.Context(), in)
	refused(t, err, "AccessDeniedException", "lambda:CreateFunction")
	// Not even where the owner lets them in, as it does another tenant.
	b.share(t, foreign)
	for _, friend := range []control.Credentials{operator, b.globex} {
		must[*lambda.AddPermissionOutput](t)(b.client(b.acme).AddPermission(t.Context(), &lambda.AddPermissionInput{
			FunctionName: &foreign, StatementId: aws.String("s" + string(friend.AccountID)), Action: aws.String("lambda:InvokeFunction"),
			Principal: aws.String(string(friend.AccountID)),
		}))
	}
	call := &lambda.InvokeInput{FunctionName: &foreign}
	_, err = b.client(operator).Invoke(t.Context(), call)
	refused(t, err, "AccessDeniedException", "lambda:InvokeFunction")
	must[*lambda.InvokeOutput](t)(b.client(b.globex).Invoke(t.Context(), call))
}
