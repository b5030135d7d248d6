package awsapi

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/carrel-dev/carrel/function"
)

func TestFunctionURLs(t *testing.T) {
	b := withFunctions(t)
	c, ctx := b.client(b.acme), t.Context()
	hello := aws.String("hello")
	made := must[*lambda.CreateFunctionUrlConfigOutput](t)(c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{
		FunctionName: hello, AuthType: types.FunctionUrlAuthTypeNone,
		Cors: &types.Cors{AllowOrigins: []string{"https://a.example"}, MaxAge: aws.Int32(5), AllowCredentials: aws.Bool(true)},
	}))
	if u := aws.ToString(made.FunctionUrl); !strings.HasPrefix(u, "http://") || !strings.HasSuffix(u, ".lambda-url.localhost/") ||
		made.AuthType != types.FunctionUrlAuthTypeNone || made.InvokeMode != types.InvokeModeBuffered || aws.ToString(made.FunctionArn) != b.arn("hello", "") ||
		aws.ToInt32(made.Cors.MaxAge) != 5 || aws.ToString(made.CreationTime) == "" {
		t.Errorf("%s", show(made))
	}
	live := must[*lambda.CreateFunctionUrlConfigOutput](t)(c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{
		FunctionName: hello, Qualifier: aws.String("live"), AuthType: types.FunctionUrlAuthTypeAwsIam, InvokeMode: types.InvokeModeResponseStream}))
	if aws.ToString(live.FunctionArn) != b.arn("hello", "live") || live.InvokeMode != types.InvokeModeResponseStream {
		t.Errorf("%s", show(live))
	}
	_, err := c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: hello, AuthType: types.FunctionUrlAuthTypeNone})
	refused(t, err, "ResourceConflictException", "exists")
	_, err = c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: aws.String("many"), AuthType: types.FunctionUrlAuthTypeNone})
	refused(t, err, "InvalidParameterValueException", "no public URL")
	_, err = c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: aws.String("many"), AuthType: "ANY"})
	refused(t, err, "ValidationException", "authType")

	changed := must[*lambda.UpdateFunctionUrlConfigOutput](t)(c.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{
		FunctionName: hello, AuthType: types.FunctionUrlAuthTypeAwsIam, Cors: &types.Cors{}}))
	got := must[*lambda.GetFunctionUrlConfigOutput](t)(c.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: hello}))
	if aws.ToString(changed.FunctionUrl) != aws.ToString(made.FunctionUrl) || got.AuthType != types.FunctionUrlAuthTypeAwsIam || got.Cors != nil {
		t.Errorf("%s", show(got))
	}
	list := must[*lambda.ListFunctionUrlConfigsOutput](t)(c.ListFunctionUrlConfigs(ctx, &lambda.ListFunctionUrlConfigsInput{FunctionName: hello}))
	if len(list.FunctionUrlConfigs) != 2 {
		t.Errorf("%s", show(list))
	}
	must[*lambda.DeleteFunctionUrlConfigOutput](t)(c.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: hello}))
	_, err = c.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: hello})
	refused(t, err, "ResourceNotFoundException", "does not exist")
}

// TestForeignFunctionURLs (A07): every operation on another account's URL is
// refused in the same words, whether there is one or not.
func TestForeignFunctionURLs(t *testing.T) {
	b := withFunctions(t)
	must[*lambda.CreateFunctionUrlConfigOutput](t)(b.client(b.acme).CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{
		FunctionName: aws.String("hello"), AuthType: types.FunctionUrlAuthTypeNone}))
	c, ctx := b.client(b.globex), t.Context()
	said := map[string]string{}
	for _, f := range []string{"hello", "absent"} {
		name := aws.String(b.arn(function.Name(f), ""))
		_, created := c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone})
		_, got := c.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: name})
		_, updated := c.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone})
		_, deleted := c.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: name})
		_, listed := c.ListFunctionUrlConfigs(ctx, &lambda.ListFunctionUrlConfigsInput{FunctionName: name})
		for op, err := range map[string]error{"create": created, "get": got, "update": updated, "delete": deleted, "list": listed} {
			refused(t, err, "AccessDeniedException", "not authorized")
			text := strings.ReplaceAll(b.normal(err), f, "NAME")
			if before, again := said[op]; again && before != text {
				t.Errorf("%s says %q of one function and %q of another", op, before, text)
			}
			said[op] = text
		}
	}
}
