package awsapi

import (
	"context"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// Control is the desired state as this protocol needs it, which
// *control.Service is. Every method but
// those of Directory takes a Grant and refuses one that is not for its own
// action on the function that it names.
type Control interface {
	Directory
	FunctionStore
	VersionStore
	AliasStore
	SettingStore
}

// AccessStore holds who may do what with a function, and what it may do.
type AccessStore interface {
	// RoleOf gives the role that a function has.
	RoleOf(account tenant.AccountID, name function.Name) (string, bool)
	AddPermission(context.Context, iam.Grant, control.PermissionInput) (statement string, err error)
	GetFunctionPolicy(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.FunctionPolicy, error)
	RemovePermission(context.Context, iam.Grant, control.RemovePermissionInput) error
}

// Directory answers from memory; only EndTenant may write.
type Directory interface {
	// Authorise decides and audits refusals.
	Authorise(ctx context.Context, r iam.Request, requestID string) (iam.Grant, error)
	// Principal gives whose key it is.
	Principal(accessKeyID string) (call.Principal, bool)
	// Resolve gives what a call of a function runs; roll picks the version
	// of a weighted alias.
	Resolve(account tenant.AccountID, name function.Name, qualifier string, roll uint64) (*function.Target, error)
	// FindEndTenant gives the internal id of an end tenant that calls have named.
	FindEndTenant(account tenant.AccountID, id tenant.EndTenantID) (tenant.UID, bool, error)
	// EndTenant is FindEndTenant, and makes it at its first call; the grant
	// is that call's.
	EndTenant(ctx context.Context, g iam.Grant, id tenant.EndTenantID) (tenant.UID, error)
}

// FunctionStore holds functions.
type FunctionStore interface {
	CreateFunction(context.Context, iam.Grant, control.CreateFunctionInput) (control.FunctionView, error)
	GetFunction(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.FunctionView, error)
	UpdateFunctionCode(context.Context, iam.Grant, control.UpdateCodeInput) (control.FunctionView, error)
	UpdateFunctionConfiguration(context.Context, iam.Grant, control.UpdateConfigurationInput) (control.FunctionView, error)
	DeleteFunction(ctx context.Context, g iam.Grant, name function.Name, qualifier string) error
}

// VersionStore holds versions and lists.
type VersionStore interface {
	ListFunctions(context.Context, iam.Grant, control.ListInput) (control.Page[control.FunctionView], error)
	PublishVersion(context.Context, iam.Grant, control.PublishInput) (control.FunctionView, error)
	ListVersions(ctx context.Context, g iam.Grant, name function.Name, in control.ListInput) (control.Page[control.FunctionView], error)
}

// AliasStore holds aliases.
type AliasStore interface {
	CreateAlias(context.Context, iam.Grant, control.AliasInput) (function.Alias, error)
	GetAlias(ctx context.Context, g iam.Grant, name function.Name, alias string) (function.Alias, error)
	UpdateAlias(context.Context, iam.Grant, control.AliasInput) (function.Alias, error)
	DeleteAlias(ctx context.Context, g iam.Grant, name function.Name, alias string) error
	ListAliases(context.Context, iam.Grant, control.ListAliasesInput) (control.Page[function.Alias], error)
}

// SettingStore holds what belongs to a function as a whole.
type SettingStore interface {
	CallStore
	TagStore
	EventConfigStore
	AccessStore
	AccountSettings(context.Context, iam.Grant) (control.AccountSettings, error)
}

// CallStore holds what bounds the calls of a function, and where they come in.
type CallStore interface {
	ConcurrencyStore
	RecursionStore
	URLStore
}

// ConcurrencyStore holds reserved concurrency; nil means that none is reserved.
type ConcurrencyStore interface {
	PutConcurrency(ctx context.Context, g iam.Grant, name function.Name, reserved int) error
	GetConcurrency(ctx context.Context, g iam.Grant, name function.Name) (*int, error)
	DeleteConcurrency(ctx context.Context, g iam.Grant, name function.Name) error
}

// RecursionStore holds whether a chain of calls may come back to a function.
type RecursionStore interface {
	PutRecursion(ctx context.Context, g iam.Grant, name function.Name, loop string) error
	GetRecursion(ctx context.Context, g iam.Grant, name function.Name) (string, error)
}

// URLStore holds the URLs of functions.
type URLStore interface {
	CreateURL(context.Context, iam.Grant, control.URLInput) (function.URLConfig, error)
	GetURL(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (function.URLConfig, error)
	UpdateURL(context.Context, iam.Grant, control.URLInput) (function.URLConfig, error)
	DeleteURL(ctx context.Context, g iam.Grant, name function.Name, qualifier string) error
	ListURLs(ctx context.Context, g iam.Grant, name function.Name, in control.ListInput) (control.Page[function.URLConfig], error)
}

// TagStore holds tags.
type TagStore interface {
	TagResource(ctx context.Context, g iam.Grant, name function.Name, tags map[string]string) error
	UntagResource(ctx context.Context, g iam.Grant, name function.Name, keys []string) error
	ListTags(ctx context.Context, g iam.Grant, name function.Name) (map[string]string, error)
}

// EventConfigStore holds how asynchronous calls are retried.
type EventConfigStore interface {
	PutEventConfig(ctx context.Context, g iam.Grant, name function.Name, c function.EventConfig) (function.EventConfig, error)
	UpdateEventConfig(ctx context.Context, g iam.Grant, name function.Name, c function.EventConfig) (function.EventConfig, error)
	GetEventConfig(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (function.EventConfig, error)
	DeleteEventConfig(ctx context.Context, g iam.Grant, name function.Name, qualifier string) error
	ListEventConfigs(ctx context.Context, g iam.Grant, name function.Name, in control.ListInput) (control.Page[function.EventConfig], error)
}
