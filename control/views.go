package control

import (
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

// FunctionView is one version of a function, as asked for. What it holds is
// shared with other readers and must not be changed.
type FunctionView struct {
	Function function.Function
	Version  function.Version
	// Qualifier is what was asked for, and ARN the function's name with it.
	Qualifier string
	ARN       string
	Reserved  *int
	Tags      map[string]string
}

func (d *deployed) show(v *function.Version, qualifier string) FunctionView {
	return FunctionView{
		Function: d.Function, Version: *v, Qualifier: qualifier, ARN: d.arn(qualifier), Reserved: d.Reserved, Tags: d.Tags,
	}
}

// CreateFunctionInput is a new function. Zero Limits and an empty Handler
// stand for Lambda's defaults: 128 MB and 3 seconds; the handler's name is
// not used with WebAssembly modules.
type CreateFunctionInput struct {
	Name        function.Name
	Description string
	Runtime     function.Runtime
	Handler     string
	Role        string
	// PackageType is empty or Zip.
	PackageType string
	Limits      function.Limits
	Environment map[string]string
	Tenancy     function.TenantIsolationMode
	Tags        map[string]string
	// Package is the zip or the module.
	Package []byte
	Publish bool
	// PassRole is the grant for iam:PassRole on Role. It is looked at once Role
	// is known to be one of the account.
	PassRole iam.Grant
}

// UpdateCodeInput is new code for a function. With DryRun everything is
// checked and nothing changed.
type UpdateCodeInput struct {
	Name       function.Name
	Package    []byte
	RevisionID string
	Publish    bool
	DryRun     bool
	// PassRole is the grant for iam:PassRole on the role that the function has,
	// which RoleOf gives. It is looked at once the function was found.
	PassRole iam.Grant
}

// UpdateConfigurationInput is what of a configuration is to change; nil
// leaves a field, and an empty Environment clears it.
type UpdateConfigurationInput struct {
	Name        function.Name
	Description *string
	Runtime     *function.Runtime
	Handler     *string
	Role        *string
	MemoryMB    *int
	TimeoutSec  *int
	Environment map[string]string
	RevisionID  string
	// PassRole is the grant for iam:PassRole on Role, or on the role that the
	// function has.
	PassRole iam.Grant
}

// PublishInput asks for a version of $LATEST. CodeSha256, in hex, and
// RevisionID are checked where they are not empty.
type PublishInput struct {
	Name        function.Name
	CodeSha256  string
	Description *string
	RevisionID  string
}

// ListInput asks for a page of functions or versions; Marker and MaxItems as
// of PageInput.
type ListInput struct {
	Marker   string
	MaxItems int
	// AllVersions lists published versions among the functions too.
	AllVersions bool
}

func (in ListInput) page() PageInput { return PageInput{Marker: in.Marker, MaxItems: in.MaxItems} }

// ListAliasesInput asks for a page of aliases; only of one version, if it is named.
type ListAliasesInput struct {
	Name     function.Name
	Version  string
	Marker   string
	MaxItems int
}

// AliasInput makes or changes an alias; nil leaves a field, and empty Weights
// end the routing to a second version.
type AliasInput struct {
	Name        function.Name
	Alias       string
	Version     *string
	Description *string
	Weights     map[string]float64
	RevisionID  string
}

// AccountSettings are an account's limits and what it uses of them; sizes in
// bytes.
type AccountSettings struct {
	Concurrency           int
	UnreservedConcurrency int
	TotalCodeSizeLimit    int64
	CodeSizeZippedLimit   int64
	CodeSizeUnzippedLimit int64
	FunctionCount         int64
	TotalCodeSize         int64
}
