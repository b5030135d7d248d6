package awsapi

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/carrel-dev/carrel/control"
)

// TestPermissions takes a resource policy through its life with the SDK, and
// lets another tenant in by it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create(t, b.createInput("hello"))
	c := b.client(b.acme)
	ctx := t.Context()
	globex := b.client(b.globex)
	call := func() error {
		_, err := globex.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(b.arn("hello", ""))})
		return err
	}
	refused(t, call(), "AccessDeniedException", "lambda:InvokeFunction")
	_, err := c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: aws.String("hello")})
	refused(t, err, "ResourceNotFoundException", "does not exist")

	consent := &lambda.AddPermissionInput{
		FunctionName: aws.String("hello"), StatementId: aws.String("globex"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String(string(b.globex.AccountID)),
	}
	_, err = c.AddPermission(ctx, consent)
	refused(t, err, control.CodeIsolationViolation, "carrel share create --resource '"+b.arn("hello", "")+"'")
	b.share(t, b.arn("hello", ""))
	added, err := c.AddPermission(ctx, consent)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Sid":"globex","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + string(b.globex.AccountID) + `:root"},` +
		`"Action":"lambda:InvokeFunction","Resource":"` + b.arn("hello", "") + `"}`
	equal(t, "the statement", *added.Statement, want)
	if err := call(); err != nil {
		t.Errorf("with the owner's consent: %v", err)
	}
	_, err = globex.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(b.arn("hello", "$LATEST"))})
	refused(t, err, "AccessDeniedException", "lambda:InvokeFunction") // it is about the unqualified name
	_, err = globex.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(b.arn("hello", ""))})
	refused(t, err, "AccessDeniedException", "lambda:GetFunction")

	got := must[*lambda.GetPolicyOutput](t)(c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: aws.String("hello")}))
	var doc struct {
		Version, ID string
		Statement   []json.RawMessage
	}
	if err := json.Unmarshal([]byte(*got.Policy), &doc); err != nil || doc.Version != "2012-10-17" || doc.ID != "default" || len(doc.Statement) != 1 || string(doc.Statement[0]) != want {
		t.Errorf("the policy is %s", *got.Policy)
	}
	_, err = c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: aws.String("hello"), StatementId: aws.String("globex"), RevisionId: aws.String("other")})
	refused(t, err, "PreconditionFailedException", "Revision Id")
	if _, err = c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: aws.String("hello"), StatementId: aws.String("globex"), RevisionId: got.RevisionId}); err != nil {
		t.Fatal(err)
	}
	refused(t, call(), "AccessDeniedException", "lambda:InvokeFunction")
	_, err = c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: aws.String("hello"), StatementId: aws.String("globex")})
	refused(t, err, "ResourceNotFoundException", "No policy")
}

// TestTerraformPermission is the sequence that Terraform's
// aws_lambda_permission takes: it finds its statement again in the policy,
// replaces it where it changes, and has it gone when the policy is.
func TestTerraformPermission(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create(t, b.createInput("tf"))
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("tf")
	read := func(sid string) (condition string, found bool) {
		out := must[*lambda.GetPolicyOutput](t)(c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name}))
		var doc struct {
			Statement []struct {
				Sid, Effect, Action, Resource string
				Principal                     map[string]string
				Condition                     json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(*out.Policy), &doc); err != nil {
			t.Fatal(err)
		}
		for _, s := range doc.Statement {
			if s.Sid == sid {
				equal(t, sid, []string{s.Effect, s.Action, s.Resource, s.Principal["Service"]}, []string{"Allow", "lambda:InvokeFunction", b.arn("tf", ""), "events.amazonaws.com"})
				return string(s.Condition), true
			}
		}
		return "", false
	}
	for _, source := range []string{"arn:aws:events:us-east-1:111122223333:rule/a", "arn:aws:events:us-east-1:111122223333:rule/b"} {
		for _, sid := range []string{"one", "two"} {
			must[*lambda.AddPermissionOutput](t)(c.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String(sid),
				Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("events.amazonaws.com"), SourceArn: aws.String(source)}))
		}
		_, err := c.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String("one"),
			Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("events.amazonaws.com")})
		refused(t, err, "ResourceConflictException", "one")
		condition, found := read("one")
		equal(t, "condition", condition, `{"ArnLike":{"AWS:SourceArn":"`+source+`"}}`)
		if !found {
			t.Error("the statement is not there")
		}
		must[*lambda.RemovePermissionOutput](t)(c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String("one")}))
		if _, found := read("one"); found {
			t.Error("the statement is still there")
		}
		must[*lambda.RemovePermissionOutput](t)(c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String("two")}))
		_, err = c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name})
		refused(t, err, "ResourceNotFoundException", "does not exist")
	}
}

func TestAddPermissionIsChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create(t, b.createInput("hello"))
	c := b.client(b.acme)
	for name, bad := range map[string]struct {
		change  func(*lambda.AddPermissionInput)
		code    string
		message string
	}{
		"no such function": {func(in *lambda.AddPermissionInput) { in.FunctionName = aws.String("absent") }, "ResourceNotFoundException", "Function not found"},
		"no such version":  {func(in *lambda.AddPermissionInput) { in.Qualifier = aws.String("7") }, "ResourceNotFoundException", "Function not found"},
		"latest":           {func(in *lambda.AddPermissionInput) { in.Qualifier = aws.String("$LATEST") }, "InvalidParameterValueException", "$LATEST"},
		"statement":        {func(in *lambda.AddPermissionInput) { in.StatementId = aws.String("a b") }, "ValidationException", "statementId"},
		"action":           {func(in *lambda.AddPermissionInput) { in.Action = aws.String("s3:GetObject") }, "ValidationException", "action"},
		"principal": {func(in *lambda.AddPermissionInput) {
			in.Principal = aws.String("arn:aws:iam::" + string(b.acme.AccountID) + ":user/nobody")
		}, "InvalidParameterValueException", "principal was invalid"},
		"source":       {func(in *lambda.AddPermissionInput) { in.SourceArn = aws.String("bucket") }, "ValidationException", "sourceArn"},
		"account":      {func(in *lambda.AddPermissionInput) { in.SourceAccount = aws.String("1") }, "ValidationException", "sourceAccount"},
		"organisation": {func(in *lambda.AddPermissionInput) { in.PrincipalOrgID = aws.String("x") }, "ValidationException", "principalOrgID"},
		"Alexa":        {func(in *lambda.AddPermissionInput) { in.EventSourceToken = aws.String("x") }, "InvalidParameterValueException", "Alexa"},
		"address":      {func(in *lambda.AddPermissionInput) { in.FunctionUrlAuthType = types.FunctionUrlAuthTypeNone }, "InvalidParameterValueException", "FunctionUrlAuthType"},
	} {
		in := &lambda.AddPermissionInput{
			FunctionName: aws.String("hello"), StatementId: aws.String("s3"), Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("s3.amazonaws.com"),
			SourceArn: aws.String("arn:aws:s3:::bucket"), SourceAccount: aws.String(string(b.acme.AccountID)),
		}
		bad.change(in)
		_, err := c.AddPermission(t.Context(), in)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		refused(t, err, bad.code, bad.message)
	}
	if _, err := c.GetPolicy(t.Context(), &lambda.GetPolicyInput{FunctionName: aws.String("hello")}); err == nil {
		t.Error("a permission that was refused is there")
	}
}
