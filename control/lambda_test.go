package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
)

func (o who) alias(name function.Name, alias, version string) function.Alias {
	o.t.Helper()
	a, err := o.s.CreateAlias(ctx, o.may(ActionCreateAlias, name), AliasInput{Name: name, Alias: alias, Version: &version})
	if err != nil {
		o.t.Fatal(err)
	}
	return a
}

func (o who) update(in UpdateConfigurationInput) (FunctionView, error) {
	o.t.Helper()
	in.PassRole = o.passes(in.Name, in.Role)
	return o.s.UpdateFunctionConfiguration(ctx, o.may(ActionUpdateConfig, in.Name), in)
}

func (o who) code(in UpdateCodeInput) (FunctionView, error) {
	o.t.Helper()
	in.PassRole = o.passes(in.Name, nil)
	return o.s.UpdateFunctionCode(ctx, o.may(ActionUpdateCode, in.Name), in)
}

// passes gives the grant for passing a role to a function, or the one that it
// has; none where there is no function.
func (o who) passes(name function.Name, role *string) iam.Grant {
	o.t.Helper()
	has, found := o.s.RoleOf(o.account, name)
	if role != nil {
		has, found = *role, true
	}
	if owner, err := function.ParseRoleARN(has); !found || err != nil || owner != o.account {
		return iam.Grant{}
	}
	return o.pass(has)
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	for i, c := range []struct {
		edit func(*CreateFunctionInput)
		code string
		want string
	}{
		{func(in *CreateFunctionInput) { in.Name = "a b" }, "ValidationException", "functionName"},
		{func(in *CreateFunctionInput) { in.Runtime = "java21" }, "InvalidParameterValueException", "[wasm, provided.al2023]"},
		{func(in *CreateFunctionInput) { in.Runtime, in.Handler = "nodejs20.x", "app.handler" }, "InvalidParameterValueException", "not run on this node: this node has no wall"},
		{func(in *CreateFunctionInput) { in.PackageType = "Image" }, "InvalidParameterValueException", "only Zip"},
		{func(in *CreateFunctionInput) { in.Role = "arn:aws:iam::1:role/x" }, "ValidationException", "'role'"},
		{func(in *CreateFunctionInput) { in.Limits.MemoryMB = 127 }, "ValidationException", "greater than or equal to 128"},
		{func(in *CreateFunctionInput) { in.Limits.MemoryMB = 10241 }, "ValidationException", "less than or equal to 10240"},
		{func(in *CreateFunctionInput) { in.Limits.MemoryMB = 4097 }, "InvalidParameterValueException", "at most 4096 MB"},
		{func(in *CreateFunctionInput) { in.Limits.Timeout = -time.Second }, "ValidationException", "'timeout'"},
		{func(in *CreateFunctionInput) { in.Limits.Timeout = 901 * time.Second }, "ValidationException", "less than or equal to 900"},
		{func(in *CreateFunctionInput) { in.Limits.Timeout = 1500 * time.Millisecond }, "InvalidParameterValueException", "whole seconds"},
		{func(in *CreateFunctionInput) { in.Description = strings.Repeat("d", 257) }, "ValidationException", "'description'"},
		{func(in *CreateFunctionInput) { in.Handler = "a b" }, "ValidationException", "'handler'"},
		{func(in *CreateFunctionInput) { in.Handler = strings.Repeat("h", 129) }, "ValidationException", "'handler'"},
		{func(in *CreateFunctionInput) { in.Tenancy = "SHARED" }, "ValidationException", "PER_TENANT"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"AWS_REGION": "x"} }, "InvalidParameterValueException", "reserved keys"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"LAMBDA_TASK_ROOT": "x"} }, "InvalidParameterValueException", "LAMBDA_TASK_ROOT"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"carrel_tenant_id": "x"} }, "InvalidParameterValueException", "reserved keys"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"_HANDLER": "x"} }, "InvalidParameterValueException", "reserved keys"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"A=B": "x"} }, "ValidationException", "environment.variables"},
		{func(in *CreateFunctionInput) {
			in.Environment = map[string]string{"AB": "x\x00CARREL_TENANT_ID=globex"}
		}, "InvalidParameterValueException", "NUL"},
		{func(in *CreateFunctionInput) { in.Environment = map[string]string{"AB": strings.Repeat("x", 4088)} }, "InvalidParameterValueException", "4KB"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"aws:x": "y"} }, "InvalidParameterValueException", "reserved"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"carrel:x": "y"} }, "InvalidParameterValueException", "reserved"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"carrel:warmup": "{"} }, "InvalidParameterValueException", "not JSON"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"carrel:fuel": "0"} }, "InvalidParameterValueException", "whole number"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"carrel:other": "1"} }, "InvalidParameterValueException", "reserved"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"k": strings.Repeat("v", 257)} }, "InvalidParameterValueException", "256"},
		{func(in *CreateFunctionInput) { in.Tags = map[string]string{"k\n": "v"} }, "InvalidParameterValueException", "characters"},
		{func(in *CreateFunctionInput) {
			in.Tags = map[string]string{}
			for i := range 51 {
				in.Tags[fmt.Sprint(i)] = ""
			}
		}, "InvalidParameterValueException", "limit of 50"},
		{func(in *CreateFunctionInput) { in.Package = []byte("nothing") }, "InvalidParameterValueException", "neither a zip"},
	} {
		in := acme.input("f", "f")
		c.edit(&in)
		_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, in.Name), in)
		if text := wants(t, err, fault.Invalid, c.code); !strings.Contains(text, c.want) {
			t.Errorf("%d: %q has no %q", i, text, c.want)
		}
	}
	in := acme.input("f", "f")
	in.Limits = function.Limits{MemoryMB: MaxMemoryMB, Timeout: 900 * time.Second}
	in.Description, in.Runtime = strings.Repeat("ä", 256), function.ProvidedAL23
	in.Environment = map[string]string{"AB": strings.Repeat("x", 4087)}
	in.Tags = map[string]string{"carrel:warmup": `{"warm":true}`, "Ünïcode key": "v"}
	acme.active(in)
	_, err := s.CreateFunction(ctx, acme.may(ActionCreateFunction, "f"), acme.input("f", "f"))
	wants(t, err, fault.Conflict, "ResourceConflictException")

	built := w.builder.built()
	src := built[len(built)-1]
	if string(src.Warmup) != `{"warm":true}` || !slices.Contains(src.Environment, "AB="+in.Environment["AB"]) || !slices.IsSorted(src.Environment) {
		t.Fatalf("built from %q and %d variables", src.Warmup, len(src.Environment))
	}
	for _, v := range src.Environment {
		if strings.HasPrefix(v, "AWS_LAMBDA_FUNCTION_VERSION=") {
			t.Fatal("the image knows a version's number")
		}
	}
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	v := acme.active(acme.input("f", "one"))
	n := len(w.builder.built())

	// What the artefact does not depend on is in force at once.
	timeout, description, none := 60, "slow", ""
	got, err := acme.update(UpdateConfigurationInput{Name: "f", TimeoutSec: &timeout, Description: &description, RevisionID: v.Version.RevisionID})
	if err != nil || got.Version.UpdateStatus != function.UpdateSuccessful || got.Version.Limits.Timeout != time.Minute || got.Version.RevisionID == v.Version.RevisionID {
		t.Fatalf("%+v %v", got.Version, err)
	}
	if target, err := s.Resolve(acme.account, "f", "", 0); err != nil || target.Limits.Timeout != time.Minute {
		t.Fatal(target, err)
	}
	if len(w.builder.built()) != n {
		t.Fatal("a new timeout made a new artefact")
	}
	_, err = acme.update(UpdateConfigurationInput{Name: "f", TimeoutSec: &timeout, RevisionID: v.Version.RevisionID})
	if text := wants(t, err, fault.Precondition, "PreconditionFailedException"); text != revisionFailed {
		t.Fatal(text)
	}
	_, err = acme.code(UpdateCodeInput{Name: "f", Package: module("x"), RevisionID: "other"})
	wants(t, err, fault.Precondition, "PreconditionFailedException")
	huge := 1 << 62
	_, err = acme.update(UpdateConfigurationInput{Name: "f", TimeoutSec: &huge})
	wants(t, err, fault.Invalid, "ValidationException")

	// What it depends on makes a new one.
	memory := 256
	if got, err = acme.update(UpdateConfigurationInput{Name: "f", MemoryMB: &memory, Environment: map[string]string{"KEY": "v"}, Description: &none}); err != nil || got.Version.UpdateStatus != function.UpdateInProgress {
		t.Fatalf("%+v %v", got.Version, err)
	}
	if got = acme.ready("f"); got.Version.UpdateStatus != function.UpdateSuccessful || got.Version.Description != "" || len(w.builder.built()) != n+1 {
		t.Fatalf("%+v", got.Version)
	}
	if got, err = acme.update(UpdateConfigurationInput{Name: "f", Environment: map[string]string{}}); err != nil || len(got.Version.Environment) != 0 {
		t.Fatalf("%+v %v", got.Version, err)
	}
	acme.ready("f")

	before := w.untouched()
	if got, err = acme.code(UpdateCodeInput{Name: "f", Package: module("dry"), DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if after := w.untouched(); after[2] != before[2] || acme.get("f", "").Version.Package == got.Version.Package {
		t.Fatal("a dry run changed the function")
	}
	if got, err = acme.code(UpdateCodeInput{Name: "f", Package: module("two"), Publish: true}); err != nil || got.Version.Number != "1" || !strings.HasSuffix(got.ARN, ":f:1") {
		t.Fatalf("%+v %v", got, err)
	}
	acme.ready("f")
	code, err := s.GetCode(ctx, acme.may(ActionGetFunction, "f"), "f", "1")
	if err != nil || string(code) != string(module("two")) {
		t.Fatalf("%q %v", code, err)
	}
	if v := acme.get("f", "1").Version; v.State != function.Active || v.Artifact == "" {
		t.Fatalf("%+v", v)
	}
}

func TestVersionsAndAliases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "one"))
	first := acme.publish("f")
	if again := acme.publish("f"); again.Version.Number != "1" || again.Version.RevisionID != first.Version.RevisionID {
		t.Fatalf("published what did not change: %+v", again.Version)
	}
	if _, err := acme.code(UpdateCodeInput{Name: "f", Package: module("two")}); err != nil {
		t.Fatal(err)
	}
	acme.ready("f")
	_, err := s.PublishVersion(ctx, acme.may(ActionPublishVersion, "f"), PublishInput{Name: "f", CodeSha256: string(first.Version.Package)})
	wants(t, err, fault.Invalid, "InvalidParameterValueException")
	description := "second"
	second, err := s.PublishVersion(ctx, acme.may(ActionPublishVersion, "f"), PublishInput{Name: "f", Description: &description, RevisionID: acme.get("f", "").Version.RevisionID})
	if err != nil || second.Version.Number != "2" || second.Version.Description != "second" {
		t.Fatalf("%+v %v", second.Version, err)
	}
	a := acme.alias("f", "live", "1")
	if v := acme.get("f", "live"); v.Version.Number != "1" || !strings.HasSuffix(v.ARN, ":f:live") {
		t.Fatalf("%+v", v)
	}
	create := func(in AliasInput) error {
		in.Name = "f"
		_, err := s.CreateAlias(ctx, acme.may(ActionCreateAlias, "f"), in)
		return err
	}
	change := func(in AliasInput) error {
		in.Name = "f"
		_, err := s.UpdateAlias(ctx, acme.may(ActionUpdateAlias, "f"), in)
		return err
	}
	one, two, nine, latest := "1", "2", "9", function.Latest
	if text := wants(t, create(AliasInput{Alias: "live", Version: &one}), fault.Conflict, "ResourceConflictException"); text != "Alias already exists: "+s.FunctionResource(acme.account, "f")+":live" {
		t.Fatal(text)
	}
	wants(t, create(AliasInput{Alias: "12", Version: &one}), fault.Invalid, "ValidationException")
	wants(t, create(AliasInput{Alias: "x", Version: &nine}), fault.NotFound, "ResourceNotFoundException")
	wants(t, create(AliasInput{Alias: "x"}), fault.Invalid, "ValidationException")
	wants(t, change(AliasInput{Alias: "absent", Version: &one}), fault.NotFound, "ResourceNotFoundException")
	wants(t, change(AliasInput{Alias: "live", RevisionID: "other"}), fault.Precondition, "PreconditionFailedException")
	for _, weights := range []map[string]float64{{"1": 0.5}, {"2": 1.5}, {"2": -0.1}, {"2": nan()}, {"2": 0.1, "3": 0.1}, {"$LATEST": 0.1}} {
		if err := change(AliasInput{Alias: "live", Weights: weights}); !fault.Is(err, fault.Invalid) {
			t.Fatalf("weights %v: %v", weights, err)
		}
	}
	wants(t, change(AliasInput{Alias: "live", Version: &latest, Weights: map[string]float64{"2": 0.5}}), fault.Invalid, "InvalidParameterValueException")
	if err := change(AliasInput{Alias: "live", Weights: map[string]float64{"2": 0.25}, RevisionID: a.RevisionID}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for i := range uint64(1000) {
		target, err := s.Resolve(acme.account, "f", "live", i*(1<<64/1000))
		if err != nil || target.Qualifier != "live" {
			t.Fatal(target, err)
		}
		got[target.Version]++
	}
	if got["2"] < 249 || got["2"] > 251 || got["1"]+got["2"] != 1000 {
		t.Fatalf("a quarter to version 2 gave %v", got)
	}
	drop := func(qualifier string) error {
		return s.DeleteFunction(ctx, acme.may(ActionDeleteFunction, "f"), "f", qualifier)
	}
	wants(t, drop("1"), fault.Conflict, "ResourceConflictException")
	wants(t, drop("2"), fault.Conflict, "ResourceConflictException")
	wants(t, drop(latest), fault.Invalid, "InvalidParameterValueException")
	wants(t, drop("live"), fault.Invalid, "InvalidParameterValueException")
	if err := change(AliasInput{Alias: "live", Version: &two, Weights: map[string]float64{}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := drop("1"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.Resolve(acme.account, "f", "1", 0)
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	acme.alias("f", "beta", "2")
	page, err := s.ListAliases(ctx, acme.may(ActionListAliases, "f"), ListAliasesInput{Name: "f", Version: "2"})
	if err != nil || len(page.Items) != 2 || page.Items[0].Name != "beta" {
		t.Fatal(page, err)
	}
	for range 2 {
		if err := s.DeleteAlias(ctx, acme.may(ActionDeleteAlias, "f"), "f", "beta"); err != nil {
			t.Fatal(err)
		}
	}
	if err := change(AliasInput{Alias: "live", Version: &latest}); err != nil {
		t.Fatal(err)
	}
	if target, err := s.Resolve(acme.account, "f", "live", 0); err != nil || target.Version != function.Latest {
		t.Fatal(target, err)
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	for i := range 12 {
		in := acme.input("f", fmt.Sprint(i))
		if i == 0 {
			acme.active(in)
		} else if _, err := acme.code(UpdateCodeInput{Name: "f", Package: in.Package}); err != nil {
			t.Fatal(err)
		}
		acme.ready("f")
		acme.publish("f")
	}
	acme.active(acme.input("f-", "x"))
	acme.active(acme.input("a", "x"))
	walk := func(list func(marker string) (Page[FunctionView], error)) (names []string) {
		for marker := ""; ; {
			page, err := list(marker)
			if err != nil || len(page.Items) > 5 {
				t.Fatal(page, err)
			}
			for _, v := range page.Items {
				names = append(names, strings.TrimPrefix(v.ARN, "arn:aws:lambda:us-east-1:"+string(acme.account)+":function:"))
			}
			if marker = page.NextMarker; marker == "" {
				return names
			}
		}
	}
	versions := []string{"f:$LATEST", "f:1", "f:2", "f:3", "f:4", "f:5", "f:6", "f:7", "f:8", "f:9", "f:10", "f:11", "f:12"}
	if got := walk(func(m string) (Page[FunctionView], error) {
		return s.ListVersions(ctx, acme.may(ActionListVersions, "f"), "f", ListInput{Marker: m, MaxItems: 5})
	}); !slices.Equal(got, versions) {
		t.Fatal(got)
	}
	all := acme.on(ActionListFunctions, s.AccountResource(acme.account))
	if got := walk(func(m string) (Page[FunctionView], error) {
		return s.ListFunctions(ctx, all, ListInput{Marker: m, MaxItems: 1})
	}); !slices.Equal(got, []string{"a", "f", "f-"}) {
		t.Fatal(got)
	}
	if got := walk(func(m string) (Page[FunctionView], error) {
		return s.ListFunctions(ctx, all, ListInput{Marker: m, MaxItems: 4, AllVersions: true})
	}); !slices.Equal(got, slices.Concat([]string{"a:$LATEST"}, versions, []string{"f-:$LATEST"})) {
		t.Fatal(got)
	}
	for _, in := range []ListInput{{Marker: "?"}, {MaxItems: -1}, {MaxItems: 10_001}} {
		_, err := s.ListFunctions(ctx, all, in)
		wants(t, err, fault.Invalid, "InvalidParameterValueException")
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	acme.active(acme.input("g", "gg"))
	reserve := func(name function.Name, n int) error {
		return s.PutConcurrency(ctx, acme.may(ActionPutConcurrency, name), name, n)
	}
	settings := func() AccountSettings {
		got, err := s.AccountSettings(ctx, acme.on(ActionGetAccountSettings, s.AccountResource(acme.account)))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if err := reserve("f", 60); err != nil {
		t.Fatal(err)
	}
	wants(t, reserve("g", 31), fault.Invalid, "InvalidParameterValueException")
	if err := reserve("g", 30); err != nil {
		t.Fatal(err)
	}
	if err := reserve("f", 59); err != nil {
		t.Fatal(err)
	}
	if target, err := s.Resolve(acme.account, "f", "", 0); err != nil || target.Reserved != 59 {
		t.Fatal(target, err)
	}
	if got := settings(); got.Concurrency != 100 || got.UnreservedConcurrency != 11 || got.FunctionCount != 2 ||
		got.TotalCodeSize != int64(len(module("f"))+len(module("gg"))) {
		t.Fatalf("%+v", got)
	}
	for range 2 {
		if err := s.DeleteConcurrency(ctx, acme.may(ActionDeleteConcurrency, "f"), "f"); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.GetConcurrency(ctx, acme.may(ActionGetConcurrency, "f"), "f"); n != nil || err != nil {
		t.Fatal(n, err)
	}
	acme.delete("g")
	if got := settings(); got.UnreservedConcurrency != 100 || got.FunctionCount != 1 {
		t.Fatalf("%+v", got)
	}

	tag := func(tags map[string]string) error {
		return s.TagResource(ctx, acme.may(ActionTagResource, "f"), "f", tags)
	}
	if err := tag(map[string]string{"a": "1", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := tag(map[string]string{"b": "3"}); err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range 49 {
		many[fmt.Sprint(i)] = ""
	}
	wants(t, tag(many), fault.Invalid, "InvalidParameterValueException")
	fuel := func() uint64 {
		t.Helper()
		target, err := s.Resolve(acme.account, "f", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		return target.Limits.Fuel
	}
	if got := fuel(); got != 0 {
		t.Errorf("a function without the tag is bounded to %d units of fuel", got)
	}
	if err := tag(map[string]string{"carrel:fuel": "5000000"}); err != nil {
		t.Fatal(err)
	}
	if got := fuel(); got != 5_000_000 {
		t.Errorf("a function tagged with 5000000 is bounded to %d units of fuel", got)
	}
	if err := s.UntagResource(ctx, acme.may(ActionUntagResource, "f"), "f", []string{"carrel:fuel"}); err != nil {
		t.Fatal(err)
	}
	if err := s.UntagResource(ctx, acme.may(ActionUntagResource, "f"), "f", []string{"a", "absent"}); err != nil {
		t.Fatal(err)
	}
	if tags, err := s.ListTags(ctx, acme.may(ActionListTags, "f"), "f"); err != nil || !maps.Equal(tags, map[string]string{"b": "3"}) {
		t.Fatal(tags, err)
	}
}

func TestEventConfigs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "f"))
	acme.publish("f")
	acme.alias("f", "live", "1")
	number := func(n int) *int { return &n }
	put := func(c function.EventConfig) error {
		_, err := s.PutEventConfig(ctx, acme.may(ActionPutEventConfig, "f"), "f", c)
		return err
	}
	for _, c := range []function.EventConfig{
		{}, {MaximumRetries: number(-1)}, {MaximumRetries: number(3)}, {MaximumEventAgeSec: number(59)}, {MaximumEventAgeSec: number(21601)},
		{MaximumRetries: number(1), OnFailure: "arn:aws:sqs:us-east-1:" + string(acme.account) + ":q"},
	} {
		if err := put(c); !fault.Is(err, fault.Invalid) {
			t.Fatalf("%+v: %v", c, err)
		}
	}
	wants(t, put(function.EventConfig{Qualifier: "absent", MaximumRetries: number(1)}), fault.NotFound, "ResourceNotFoundException")
	if err := put(function.EventConfig{MaximumRetries: number(0), MaximumEventAgeSec: number(60)}); err != nil {
		t.Fatal(err)
	}
	if err := put(function.EventConfig{Qualifier: "live", MaximumRetries: number(1)}); err != nil {
		t.Fatal(err)
	}
	_, err := s.UpdateEventConfig(ctx, acme.may(ActionUpdateEventConfig, "f"), "f", function.EventConfig{Qualifier: "1", MaximumRetries: number(1)})
	wants(t, err, fault.NotFound, "ResourceNotFoundException")
	got, err := s.UpdateEventConfig(ctx, acme.may(ActionUpdateEventConfig, "f"), "f", function.EventConfig{MaximumRetries: number(2)})
	if err != nil || *got.MaximumRetries != 2 || *got.MaximumEventAgeSec != 60 || got.Qualifier != function.Latest {
		t.Fatalf("%+v %v", got, err)
	}
	for qualifier, want := range map[string][2]int{"": {2, 60}, "$LATEST": {2, 60}, "live": {1, 21600}, "1": {2, 21600}} {
		target, err := s.Resolve(acme.account, "f", qualifier, 0)
		if err != nil {
			t.Fatal(err)
		}
		if retries, age := s.EventConfigOf(acme.account, target); [2]int{retries, age} != want {
			t.Errorf("%q: %d %d, want %v", qualifier, retries, age, want)
		}
	}
	page, err := s.ListEventConfigs(ctx, acme.may(ActionListEventConfigs, "f"), "f", ListInput{})
	if err != nil || len(page.Items) != 2 {
		t.Fatal(page, err)
	}
	if err := s.DeleteEventConfig(ctx, acme.may(ActionDeleteEventConfig, "f"), "f", ""); err != nil {
		t.Fatal(err)
	}
	wants(t, s.DeleteEventConfig(ctx, acme.may(ActionDeleteEventConfig, "f"), "f", ""), fault.NotFound, "ResourceNotFoundException")
	// With its alias goes its configuration.
	if err := s.DeleteAlias(ctx, acme.may(ActionDeleteAlias, "f"), "f", "live"); err != nil {
		t.Fatal(err)
	}
	if page, err = s.ListEventConfigs(ctx, acme.may(ActionListEventConfigs, "f"), "f", ListInput{}); err != nil || len(page.Items) != 0 {
		t.Fatal(page, err)
	}
}

// TestGarbage shows that blobs go when nothing names them any more, and not
// before a call that was resolved earlier has loaded them.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.open()
	acme := w.operator(s).tenant("acme")
	acme.active(acme.input("f", "one"))
	acme.active(acme.input("twin", "one"))
	acme.publish("f")
	if _, err := acme.code(UpdateCodeInput{Name: "f", Package: module("two")}); err != nil {
		t.Fatal(err)
	}
	acme.ready("f")
	count := func() int { return w.untouched()[3] }
	s.deleteDiscarded(ctx, time.Now())
	if n := count(); n != 5 { // two packages; artefacts of f's two builds and of twin's, whose name is in its environment
		t.Fatalf("%d blobs while version 1 names the old code", n)
	}
	acme.delete("f")
	s.deleteDiscarded(ctx, time.Now().Add(-garbageAge))
	if n := count(); n != 5 {
		t.Fatalf("%d blobs at once", n)
	}
	s.deleteDiscarded(ctx, time.Now())
	if n := count(); n != 2 {
		t.Fatalf("%d blobs later; the twin needs two", n)
	}
	if v := acme.get("twin", "").Version; !has(w, s, acme, v) {
		t.Fatal("the twin's blobs are gone")
	}
}

func has(w *world, s *Service, o who, v function.Version) bool {
	a, _ := s.ix.accounts.get(o.account)
	w.blobs.mu.Lock()
	defer w.blobs.mu.Unlock()
	return w.blobs.content[blobRef{a.UID, secret.Code, v.Package}] != nil && w.blobs.content[blobRef{a.UID, secret.Image, v.Artifact}] != nil
}
