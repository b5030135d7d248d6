package awsapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/carrel-dev/carrel/function"
)

var code = []byte("\x00asm\x01\x00\x00\x00 not really")

// equal compares what the SDK decoded with what is expected.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %s, want %s", what, show(got), show(want))
	}
}

func show(v any) string {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		v = r.Elem().Interface()
	}
	return fmt.Sprintf("%+v", v)
}

// refused demands an error with a code and a part of its message.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("got %s: %q, want %s: ...%q...", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func createInput(name string) *lambda.CreateFunctionInput {
	return &lambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: aws.String(acmeRole), Runtime: "wasm",
		Code: &types.FunctionCode{ZipFile: code},
	}
}

func TestCreateFunctionFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	in := createInput("hello")
	in.Description, in.Handler = aws.String("says hello"), aws.String("handle")
	in.MemorySize, in.Timeout = aws.Int32(256), aws.Int32(7)
	in.Environment = &types.Environment{Variables: map[string]string{"GREETING": "good \"day\" \u00e9", "greeting": "hi"}}
	in.Tags = map[string]string{"team": "blue"}
	in.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
	in.Architectures = []types.Architecture{types.ArchitectureX8664}
	in.EphemeralStorage = &types.EphemeralStorage{Size: aws.Int32(512)}
	in.TracingConfig = &types.TracingConfig{Mode: types.TracingModePassThrough}
	out := must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, in))

	sum := sha256.Sum256(code)
	want := &lambda.CreateFunctionOutput{
		Architectures: []types.Architecture{types.ArchitectureX8664}, CodeSha256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		CodeSize: int64(len(code)), Description: in.Description,
		Environment:      &types.EnvironmentResponse{Variables: in.Environment.Variables},
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(512)},
		FunctionArn:      aws.String("arn:aws:lambda:us-east-1:111111111111:function:hello"), FunctionName: aws.String("hello"),
		Handler: aws.String("handle"), LastModified: aws.String("2026-09-21T14:13:20.123+0000"), LastUpdateStatus: types.LastUpdateStatusSuccessful,
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/hello")},
		MemorySize:    aws.Int32(256), PackageType: types.PackageTypeZip, RevisionId: out.RevisionId, Role: aws.String(acmeRole), Runtime: "wasm",
		SnapStart: &types.SnapStartResponse{ApplyOn: types.SnapStartApplyOnNone, OptimizationStatus: types.SnapStartOptimizationStatusOff},
		State:     types.StatePending, StateReason: aws.String("The function is being created."), StateReasonCode: types.StateReasonCodeCreating,
		TenancyConfig: in.TenancyConfig, Timeout: aws.Int32(7), TracingConfig: &types.TracingConfigResponse{Mode: types.TracingModePassThrough},
		Version: aws.String("$LATEST"), ResultMetadata: out.ResultMetadata,
	}
	equal(t, "CreateFunctionOutput", out, want)
	got := b.control.created[0]
	equal(t, "the code", string(got.Package), string(code))
	equal(t, "the limits", got.Limits, function.Limits{MemoryMB: 256, Timeout: 7 * time.Second})
	equal(t, "tags", got.Tags, in.Tags)

	_, err := c.CreateFunction(ctx, in)
	refused(t, err, "ResourceConflictException", "Function already exist: hello")
}

func TestCreateFunctionDefaults(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := createInput("arn:aws:lambda:us-east-1:111111111111:function:plain")
	in.Publish = true
	must[*lambda.CreateFunctionOutput](t)(b.client(acmeKey).CreateFunction(t.Context(), in))
	want := CreateFunctionInput{Name: "plain", Runtime: function.Wasm, Role: acmeRole, Package: code, Publish: true,
		Limits: function.Limits{MemoryMB: 128, Timeout: 3 * time.Second}}
	equal(t, "the input", b.control.created[0], want)
}

func TestFunctionOperations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	name := aws.String("hello")
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, createInput("hello")))

	got := must[*lambda.GetFunctionOutput](t)(c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name}))
	if got.Code == nil || got.Configuration == nil || got.Configuration.State != types.StatePending {
		t.Errorf("GetFunction gave Code %v and Configuration %+v", got.Code, got.Configuration)
	}
	conf := must[*lambda.GetFunctionConfigurationOutput](t)(c.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name}))
	equal(t, "State", conf.State, types.StateActive)

	up := must[*lambda.UpdateFunctionConfigurationOutput](t)(c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: name, Timeout: aws.Int32(9), MemorySize: aws.Int32(512), Description: aws.String("new"),
		Environment: &types.Environment{Variables: map[string]string{"AB": "c"}}, RevisionId: conf.RevisionId}))
	equal(t, "Timeout", *up.Timeout, int32(9))
	equal(t, "MemorySize", *up.MemorySize, int32(512))
	equal(t, "LastUpdateStatus", up.LastUpdateStatus, types.LastUpdateStatusInProgress)
	_, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Timeout: aws.Int32(8)})
	refused(t, err, "ResourceConflictException", "in progress")
	_, err = c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: code, RevisionId: aws.String("old")})
	refused(t, err, "PreconditionFailedException", "The Revision Id provided does not match")
	must[*lambda.UpdateFunctionCodeOutput](t)(c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: []byte("\x00asm2")}))

	v := must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name, Description: aws.String("one")}))
	equal(t, "FunctionArn", *v.FunctionArn, "arn:aws:lambda:us-east-1:111111111111:function:hello:1")
	equal(t, "Version", *v.Version, "1")
	versions := must[*lambda.ListVersionsByFunctionOutput](t)(c.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: name, MaxItems: aws.Int32(1)}))
	equal(t, "versions", *versions.Versions[0].Version, "$LATEST")
	versions = must[*lambda.ListVersionsByFunctionOutput](t)(c.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: name, Marker: versions.NextMarker}))
	equal(t, "versions", *versions.Versions[0].Version, "1")
	equal(t, "NextMarker", versions.NextMarker, (*string)(nil))

	if _, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("hello:1")}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name, Qualifier: aws.String("$LATEST")})
	refused(t, err, "InvalidParameterValueException", "$LATEST version cannot be deleted")
	if _, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name}); err != nil {
		t.Error(err)
	}
	_, err = c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name})
	refused(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:111111111111:function:hello")
	if nf := (*types.ResourceNotFoundException)(nil); !errors.As(err, &nf) || aws.ToString(nf.Type) != "User" {
		t.Errorf("the SDK does not know the exception: %v", err)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	name := aws.String("hello")
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, createInput("hello")))
	for range 2 {
		must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name}))
	}
	in := &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("1"), Description: aws.String("d"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.25}}}
	a := must[*lambda.CreateAliasOutput](t)(c.CreateAlias(ctx, in))
	equal(t, "alias", a, &lambda.CreateAliasOutput{AliasArn: aws.String("arn:aws:lambda:us-east-1:111111111111:function:hello:live"),
		Description: aws.String("d"), FunctionVersion: aws.String("1"), Name: aws.String("live"), RevisionId: a.RevisionId,
		RoutingConfig: in.RoutingConfig, ResultMetadata: a.ResultMetadata})
	_, err := c.CreateAlias(ctx, in)
	refused(t, err, "ResourceConflictException", "Alias already exists: arn:aws:lambda:us-east-1:111111111111:function:hello:live")

	g := must[*lambda.GetAliasOutput](t)(c.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("live")}))
	equal(t, "weights", g.RoutingConfig, in.RoutingConfig)
	u := must[*lambda.UpdateAliasOutput](t)(c.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: name, Name: aws.String("live"),
		FunctionVersion: aws.String("2"), RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}}))
	equal(t, "version", *u.FunctionVersion, "2")
	equal(t, "weights", u.RoutingConfig, (*types.AliasRoutingConfiguration)(nil))
	l := must[*lambda.ListAliasesOutput](t)(c.ListAliases(ctx, &lambda.ListAliasesInput{FunctionName: name, FunctionVersion: aws.String("2")}))
	equal(t, "aliases", len(l.Aliases), 1)
	if _, err = c.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: name, Name: aws.String("live")}); err != nil {
		t.Error(err)
	}
	_, err = c.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("live")})
	refused(t, err, "ResourceNotFoundException", "Cannot find alias arn")
	_, err = c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("12"), FunctionVersion: aws.String("1")})
	refused(t, err, "ValidationException", "1 validation error detected: Value '12' at 'name'")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	name := aws.String("hello")
	arn := must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, createInput("hello"))).FunctionArn

	p := must[*lambda.PutFunctionConcurrencyOutput](t)(c.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(0)}))
	equal(t, "reserved", p.ReservedConcurrentExecutions, aws.Int32(0))
	g := must[*lambda.GetFunctionConcurrencyOutput](t)(c.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: name}))
	equal(t, "reserved", g.ReservedConcurrentExecutions, aws.Int32(0))
	f := must[*lambda.GetFunctionOutput](t)(c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name}))
	equal(t, "Concurrency", f.Concurrency, &types.Concurrency{ReservedConcurrentExecutions: aws.Int32(0)})
	if _, err := c.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: name}); err != nil {
		t.Error(err)
	}
	g = must[*lambda.GetFunctionConcurrencyOutput](t)(c.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: name}))
	equal(t, "reserved", g.ReservedConcurrentExecutions, (*int32)(nil))

	if _, err := c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"a/b": "1", "c": ""}}); err != nil {
		t.Error(err)
	}
	if _, err := c.UntagResource(ctx, &lambda.UntagResourceInput{Resource: arn, TagKeys: []string{"c", "absent"}}); err != nil {
		t.Error(err)
	}
	tags := must[*lambda.ListTagsOutput](t)(c.ListTags(ctx, &lambda.ListTagsInput{Resource: arn}))
	equal(t, "tags", tags.Tags, map[string]string{"a/b": "1"})
	_, err := c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"aws:x": "1"}})
	refused(t, err, "ValidationException", "aws:")

	s := must[*lambda.GetAccountSettingsOutput](t)(c.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{}))
	equal(t, "limits", s.AccountLimit, &types.AccountLimit{CodeSizeUnzipped: 262144000, CodeSizeZipped: 52428800,
		ConcurrentExecutions: 100, TotalCodeSize: 80530636800, UnreservedConcurrentExecutions: aws.Int32(93)})
	equal(t, "usage", s.AccountUsage, &types.AccountUsage{FunctionCount: 2, TotalCodeSize: 4096})
	cs := must[*lambda.GetFunctionCodeSigningConfigOutput](t)(c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: name}))
	equal(t, "CodeSigningConfigArn", cs.CodeSigningConfigArn, (*string)(nil))
	equal(t, "FunctionName", *cs.FunctionName, "hello")
	_, err = c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: aws.String("absent")})
	refused(t, err, "ResourceNotFoundException", "Function not found")
}

func TestEventInvokeConfigs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	name := aws.String("hello")
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, createInput("hello")))
	to := &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: aws.String("arn:aws:lambda:us-east-1:111111111111:function:dead")}, OnSuccess: &types.OnSuccess{}}
	p := must[*lambda.PutFunctionEventInvokeConfigOutput](t)(c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: name, MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60), DestinationConfig: to}))
	equal(t, "config", p, &lambda.PutFunctionEventInvokeConfigOutput{DestinationConfig: to,
		FunctionArn:  aws.String("arn:aws:lambda:us-east-1:111111111111:function:hello:$LATEST"),
		LastModified: aws.Time(time.UnixMilli(1_790_000_000_123).UTC()), MaximumEventAgeInSeconds: aws.Int32(60), MaximumRetryAttempts: aws.Int32(0),
		ResultMetadata: p.ResultMetadata})
	must[*lambda.UpdateFunctionEventInvokeConfigOutput](t)(c.UpdateFunctionEventInvokeConfig(ctx, &lambda.UpdateFunctionEventInvokeConfigInput{
		FunctionName: name, Qualifier: aws.String("live"), MaximumRetryAttempts: aws.Int32(1)}))
	g := must[*lambda.GetFunctionEventInvokeConfigOutput](t)(c.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: aws.String("live")}))
	equal(t, "retries", g.MaximumRetryAttempts, aws.Int32(1))
	l := must[*lambda.ListFunctionEventInvokeConfigsOutput](t)(c.ListFunctionEventInvokeConfigs(ctx, &lambda.ListFunctionEventInvokeConfigsInput{FunctionName: name}))
	equal(t, "configs", len(l.FunctionEventInvokeConfigs), 2)
	if _, err := c.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: name}); err != nil {
		t.Error(err)
	}
	_, err := c.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: name})
	refused(t, err, "ResourceNotFoundException", "doesn't have an EventInvokeConfig")
	_, err = c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: name, MaximumRetryAttempts: aws.Int32(3)})
	refused(t, err, "ValidationException", "Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 2")
}

func TestListFunctionsPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, createInput(name)))
	}
	var names string
	pages := lambda.NewListFunctionsPaginator(c, &lambda.ListFunctionsInput{MaxItems: aws.Int32(2)})
	for pages.HasMorePages() {
		page := must[*lambda.ListFunctionsOutput](t)(pages.NextPage(ctx))
		for _, f := range page.Functions {
			names += *f.FunctionName
			equal(t, "State", f.State, types.State(""))
		}
	}
	equal(t, "names", names, "abcde")
	must[*lambda.ListFunctionsOutput](t)(c.ListFunctions(ctx, &lambda.ListFunctionsInput{MaxItems: aws.Int32(10_000), FunctionVersion: types.FunctionVersionAll}))
	equal(t, "the page asked for", b.control.listed[len(b.control.listed)-1], ListInput{MaxItems: 50, AllVersions: true})
	for _, n := range []int32{0, 10_001} {
		_, err := c.ListFunctions(ctx, &lambda.ListFunctionsInput{MaxItems: aws.Int32(n)})
		refused(t, err, "ValidationException", fmt.Sprintf("Value '%d' at 'maxItems' failed to satisfy constraint: Member must have value", n))
	}
	must[*lambda.ListFunctionsOutput](t)(b.client(globexKey).ListFunctions(ctx, nil))
}

// TestTerraform is the sequence that Terraform's aws_lambda_function takes a
// function through, with the SDK's own waiters.
func TestTerraform(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(acmeKey), t.Context()
	name := aws.String("tf")
	in := createInput("tf")
	// What the provider sends for blocks that are not set.
	in.Layers, in.VpcConfig = []string{}, &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}
	in.DeadLetterConfig, in.KMSKeyArn = &types.DeadLetterConfig{TargetArn: aws.String("")}, aws.String("")
	in.PackageType, in.Handler, in.Runtime = types.PackageTypeZip, aws.String("bootstrap"), types.RuntimeProvidedal2023
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, in))
	get := &lambda.GetFunctionInput{FunctionName: name}
	active := lambda.NewFunctionActiveV2Waiter(c, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	})
	updated := lambda.NewFunctionUpdatedV2Waiter(c, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	})
	if err := active.Wait(ctx, get, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	must[*lambda.PutFunctionConcurrencyOutput](t)(c.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(2)}))
	got := must[*lambda.GetFunctionOutput](t)(c.GetFunction(ctx, get))
	if got.Code == nil || got.Configuration == nil {
		t.Fatal("GetFunction without Code or Configuration: the provider gives up")
	}
	must[*lambda.ListVersionsByFunctionOutput](t)(c.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: name, MaxItems: aws.Int32(10_000)}))
	must[*lambda.GetFunctionCodeSigningConfigOutput](t)(c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: name}))

	must[*lambda.UpdateFunctionConfigurationOutput](t)(c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: name, Timeout: aws.Int32(10), Environment: &types.Environment{Variables: map[string]string{}}, VpcConfig: in.VpcConfig,
		Layers: []string{}, DeadLetterConfig: in.DeadLetterConfig, KMSKeyArn: aws.String(""), EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(512)}}))
	if err := updated.Wait(ctx, get, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	must[*lambda.UpdateFunctionCodeOutput](t)(c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: []byte("\x00asm new"), Architectures: []types.Architecture{types.ArchitectureX8664}}))
	if err := updated.Wait(ctx, get, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: name}); err != nil {
		t.Fatal(err)
	}
	must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name}))
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name}); err != nil {
		t.Fatal(err)
	}
	_, err := c.GetFunction(ctx, get)
	refused(t, err, "ResourceNotFoundException", "Function not found")
}
