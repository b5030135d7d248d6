package awsapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

var code = []byte("\x00asm\x01\x00\x00\x00 not really")

// equal compares what the SDK decoded with what is expected.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %s, want %s", what, show(got), show(want))
	}
}

// show prints what pointers point to, as %+v does not.
func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(text)
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

func TestCreateFunctionFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(b.acme), t.Context()
	in := b.createInput("hello")
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
		FunctionArn:      aws.String(b.arn("hello", "")), FunctionName: aws.String("hello"),
		Handler: aws.String("handle"), LastModified: aws.String("2026-11-23T08:00:00.123+0000"),
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/hello")},
		MemorySize:    aws.Int32(256), PackageType: types.PackageTypeZip, RevisionId: out.RevisionId, Role: aws.String(b.acme.RoleARN), Runtime: "wasm",
		SnapStart: &types.SnapStartResponse{ApplyOn: types.SnapStartApplyOnNone, OptimizationStatus: types.SnapStartOptimizationStatusOff},
		State:     types.StatePending, StateReason: aws.String("The function is being created."), StateReasonCode: types.StateReasonCodeCreating,
		TenancyConfig: in.TenancyConfig, Timeout: aws.Int32(7), TracingConfig: &types.TracingConfigResponse{Mode: types.TracingModePassThrough},
		Version: aws.String("$LATEST"), ResultMetadata: out.ResultMetadata,
	}
	equal(t, "CreateFunctionOutput", out, want)
	b.settled(t, "hello")
	f := must[*lambda.GetFunctionOutput](t)(c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("hello")}))
	equal(t, "tags", f.Tags, in.Tags)
	equal(t, "states", []any{f.Configuration.State, f.Configuration.LastUpdateStatus, f.Configuration.StateReason}, []any{types.StateActive, types.LastUpdateStatusSuccessful, (*string)(nil)})
	if f.Code == nil {
		t.Error("GetFunction gave no Code")
	}
	_, err := c.CreateFunction(ctx, in)
	refused(t, err, "ResourceConflictException", "Function already exist: hello")
}

func TestCreateFunctionDefaults(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.createInput(b.arn("plain", ""))
	in.Publish = true
	out := must[*lambda.CreateFunctionOutput](t)(b.client(b.acme).CreateFunction(t.Context(), in))
	equal(t, "the defaults", []any{*out.FunctionName, *out.MemorySize, *out.Timeout, *out.Version, out.Environment, out.TenancyConfig},
		[]any{"plain", int32(128), int32(3), "1", (*types.EnvironmentResponse)(nil), (*types.TenancyConfig)(nil)})
}

func TestFunctionOperations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.builder.gate = make(chan struct{}, 1)
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("hello")
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, b.createInput("hello")))

	got := must[*lambda.GetFunctionOutput](t)(c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name}))
	equal(t, "State", got.Configuration.State, types.StatePending)
	_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: name})
	refused(t, err, "ResourceConflictException", "Pending")
	b.builder.gate <- struct{}{}
	b.settled(t, "hello")
	conf := must[*lambda.GetFunctionConfigurationOutput](t)(c.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name}))
	equal(t, "State", conf.State, types.StateActive)

	up := must[*lambda.UpdateFunctionConfigurationOutput](t)(c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: name, Timeout: aws.Int32(9), MemorySize: aws.Int32(512), Description: aws.String("new"),
		Environment: &types.Environment{Variables: map[string]string{"AB": "c"}}, RevisionId: conf.RevisionId}))
	equal(t, "what changed", []any{*up.Timeout, *up.MemorySize, *up.Description, up.Environment.Variables, up.LastUpdateStatus},
		[]any{int32(9), int32(512), "new", map[string]string{"AB": "c"}, types.LastUpdateStatusInProgress})
	_, err = c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Timeout: aws.Int32(8)})
	refused(t, err, "ResourceConflictException", "in progress")
	b.builder.gate <- struct{}{}
	b.settled(t, "hello")
	_, err = c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: code, RevisionId: aws.String("old")})
	refused(t, err, "PreconditionFailedException", "The Revision Id provided does not match")
	must[*lambda.UpdateFunctionCodeOutput](t)(c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: append(code, '2')}))
	b.builder.gate <- struct{}{}
	b.settled(t, "hello")

	_, err = c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name, CodeSha256: conf.CodeSha256})
	refused(t, err, "InvalidParameterValueException", "different from current CodeSHA256")
	conf = must[*lambda.GetFunctionConfigurationOutput](t)(c.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name}))
	v := must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name, Description: aws.String("one"), CodeSha256: conf.CodeSha256}))
	equal(t, "FunctionArn", *v.FunctionArn, b.arn("hello", "1"))
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
	refused(t, err, "ResourceNotFoundException", "Function not found: "+b.arn("hello", ""))
	if nf := (*types.ResourceNotFoundException)(nil); !errors.As(err, &nf) || aws.ToString(nf.Type) != "User" {
		t.Errorf("the SDK does not know the exception: %v", err)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("hello")
	b.create(t, b.createInput("hello"))
	for i := range 2 {
		must[*lambda.UpdateFunctionConfigurationOutput](t)(c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Timeout: aws.Int32(int32(4 + i))}))
		b.settled(t, "hello")
		must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name}))
	}
	in := &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("1"), Description: aws.String("d"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.25}}}
	a := must[*lambda.CreateAliasOutput](t)(c.CreateAlias(ctx, in))
	equal(t, "alias", a, &lambda.CreateAliasOutput{AliasArn: aws.String(b.arn("hello", "live")),
		Description: aws.String("d"), FunctionVersion: aws.String("1"), Name: aws.String("live"), RevisionId: a.RevisionId,
		RoutingConfig: in.RoutingConfig, ResultMetadata: a.ResultMetadata})
	_, err := c.CreateAlias(ctx, in)
	refused(t, err, "ResourceConflictException", "Alias already exists: "+b.arn("hello", "live"))

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
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("hello")
	arn := must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, b.createInput("hello"))).FunctionArn

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

	loop := must[*lambda.GetFunctionRecursionConfigOutput](t)(c.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: name}))
	equal(t, "loop at first", loop.RecursiveLoop, types.RecursiveLoopTerminate)
	put := must[*lambda.PutFunctionRecursionConfigOutput](t)(c.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: name, RecursiveLoop: types.RecursiveLoopAllow}))
	equal(t, "loop that was put", put.RecursiveLoop, types.RecursiveLoopAllow)
	loop = must[*lambda.GetFunctionRecursionConfigOutput](t)(c.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: name}))
	equal(t, "loop now", loop.RecursiveLoop, types.RecursiveLoopAllow)
	_, err := c.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: name, RecursiveLoop: "Maybe"})
	refused(t, err, "ValidationException", "1 validation error detected: Value 'Maybe' at 'recursiveLoop'")

	if _, err := c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"a/b": "1", "c": ""}}); err != nil {
		t.Error(err)
	}
	if _, err := c.UntagResource(ctx, &lambda.UntagResourceInput{Resource: arn, TagKeys: []string{"c", "absent"}}); err != nil {
		t.Error(err)
	}
	tags := must[*lambda.ListTagsOutput](t)(c.ListTags(ctx, &lambda.ListTagsInput{Resource: arn}))
	equal(t, "tags", tags.Tags, map[string]string{"a/b": "1"})
	_, err = c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"aws:x": "1"}})
	refused(t, err, "InvalidParameterValueException", "aws:")

	s := must[*lambda.GetAccountSettingsOutput](t)(c.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{}))
	equal(t, "limits", s.AccountLimit, &types.AccountLimit{CodeSizeUnzipped: 262144000, CodeSizeZipped: 52428800,
		ConcurrentExecutions: 100, TotalCodeSize: 80530636800, UnreservedConcurrentExecutions: aws.Int32(100)})
	equal(t, "usage", s.AccountUsage, &types.AccountUsage{FunctionCount: 1, TotalCodeSize: int64(len(code))})
	cs := must[*lambda.GetFunctionCodeSigningConfigOutput](t)(c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: name}))
	equal(t, "CodeSigningConfigArn", cs.CodeSigningConfigArn, (*string)(nil))
	equal(t, "FunctionName", *cs.FunctionName, "hello")
	_, err = c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: aws.String("absent")})
	refused(t, err, "ResourceNotFoundException", "Function not found")
}

func TestEventInvokeConfigs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("hello")
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, b.createInput("hello")))
	p := must[*lambda.PutFunctionEventInvokeConfigOutput](t)(c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: name, MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)}))
	equal(t, "config", p, &lambda.PutFunctionEventInvokeConfigOutput{
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{}, OnSuccess: &types.OnSuccess{}},
		FunctionArn:       aws.String(b.arn("hello", "$LATEST")),
		LastModified:      aws.Time(changed), MaximumEventAgeInSeconds: aws.Int32(60), MaximumRetryAttempts: aws.Int32(0),
		ResultMetadata: p.ResultMetadata})
	must[*lambda.CreateAliasOutput](t)(c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("$LATEST")}))
	must[*lambda.PutFunctionEventInvokeConfigOutput](t)(c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: aws.String("hello:live"), MaximumEventAgeInSeconds: aws.Int32(99)}))
	must[*lambda.UpdateFunctionEventInvokeConfigOutput](t)(c.UpdateFunctionEventInvokeConfig(ctx, &lambda.UpdateFunctionEventInvokeConfigInput{
		FunctionName: name, Qualifier: aws.String("live"), MaximumRetryAttempts: aws.Int32(1)}))
	g := must[*lambda.GetFunctionEventInvokeConfigOutput](t)(c.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: aws.String("live")}))
	equal(t, "retries and age", []any{*g.MaximumRetryAttempts, *g.MaximumEventAgeInSeconds}, []any{int32(1), int32(99)})
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
	c, ctx := b.client(b.acme), t.Context()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b.create(t, b.createInput(name))
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
	must[*lambda.PublishVersionOutput](t)(c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("a")}))
	all := must[*lambda.ListFunctionsOutput](t)(c.ListFunctions(ctx, &lambda.ListFunctionsInput{MaxItems: aws.Int32(10_000), FunctionVersion: types.FunctionVersionAll}))
	equal(t, "functions and versions", len(all.Functions), 6)
	for _, n := range []int32{0, 10_001} {
		_, err := c.ListFunctions(ctx, &lambda.ListFunctionsInput{MaxItems: aws.Int32(n)})
		refused(t, err, "ValidationException", fmt.Sprintf("Value '%d' at 'maxItems' failed to satisfy constraint: Member must have value", n))
	}
	other := must[*lambda.ListFunctionsOutput](t)(b.client(b.globex).ListFunctions(ctx, nil))
	equal(t, "functions that globex sees", len(other.Functions), 0)
}

// TestTerraform is the sequence that Terraform's aws_lambda_function takes a
// function through, with the SDK's own waiters.
func TestTerraform(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, ctx := b.client(b.acme), t.Context()
	name := aws.String("tf")
	in := b.createInput("tf")
	// What the provider sends for blocks that are not set.
	in.Layers, in.VpcConfig = []string{}, &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}
	in.DeadLetterConfig, in.KMSKeyArn = &types.DeadLetterConfig{TargetArn: aws.String("")}, aws.String("")
	in.PackageType, in.Handler, in.Runtime = types.PackageTypeZip, aws.String("bootstrap"), types.RuntimeProvidedal2023
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(ctx, in))
	get := &lambda.GetFunctionInput{FunctionName: name}
	b.settled(t, "tf")
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
	b.settled(t, "tf")
	must[*lambda.UpdateFunctionCodeOutput](t)(c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: append(code, "new"...), Architectures: []types.Architecture{types.ArchitectureX8664}}))
	b.settled(t, "tf")
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
