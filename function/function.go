// Package function holds what was deployed: functions, their immutable
// versions and aliases, and the limits each version runs under. The model
// and its names are Lambda's.
package function

import (
	"strings"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// Runtime is the Runtime field of a function's configuration.
type Runtime string

// The runtimes that a WebAssembly module may be deployed under. The second
// is for clients that know AWS's names only, and for native programs; the
// other native runtimes are in package function/native.
const (
	Wasm         Runtime = "wasm"
	ProvidedAL23 Runtime = "provided.al2023"
)

// Model is how a function is driven.
type Model string

// The execution models: a reactor is initialised once and called through
// its export handle; a command runs _start anew for each call; a native
// function is a process that asks for its calls through the Runtime API.
const (
	Reactor Model = "reactor"
	Command Model = "command"
	Native  Model = "native"
)

// TenantIsolationMode is Lambda's TenancyConfig.TenantIsolationMode.
type TenantIsolationMode string

// PerTenant demands a tenant id with every call and gives each its own
// execution environments. The empty mode takes no tenant id.
const PerTenant TenantIsolationMode = "PER_TENANT"

// State is a version's life state, as in Lambda.
type State string

// The states of a version.
const (
	Pending  State = "Pending"
	Active   State = "Active"
	Inactive State = "Inactive"
	Failed   State = "Failed"
)

// UpdateStatus is the state of the last change, as in Lambda.
type UpdateStatus string

// The states of a change.
const (
	UpdateSuccessful UpdateStatus = "Successful"
	UpdateFailed     UpdateStatus = "Failed"
	UpdateInProgress UpdateStatus = "InProgress"
)

// Digest is the SHA-256 of content, in lower-case hex.
type Digest string

// Limits bound one call of a version.
type Limits struct {
	// MemoryMB is the most linear memory and /tmp together, in MiB.
	MemoryMB int `json:"memoryMB"`
	// Fuel bounds the executed instructions of one call; zero is no bound.
	Fuel uint64 `json:"fuel,omitempty"`
	// Timeout is the longest run of one call.
	Timeout time.Duration `json:"timeout"`
}

// Version is one version of a function, published or $LATEST. A published
// version never changes but for its State.
type Version struct {
	Number      string  `json:"number"`
	Description string  `json:"description,omitempty"`
	Runtime     Runtime `json:"runtime"`
	Handler     string  `json:"handler,omitempty"`
	Role        string  `json:"role"`
	// RoleUID is the role's internal id: one that is made anew under the name is
	// another. It is empty where the role is the one that its account was made
	// with, before roles had policies.
	RoleUID     tenant.UID        `json:"roleUid,omitempty"`
	Limits      Limits            `json:"limits"`
	Environment map[string]string `json:"environment,omitempty"`
	// Package is the digest of what was uploaded, and PackageSize its bytes.
	Package     Digest `json:"package"`
	PackageSize int64  `json:"packageSize"`
	// Artifact is the digest of what a worker loads; empty until it is built.
	Artifact Digest `json:"artifact,omitempty"`
	// Schema is the digest of the JSON Schema of its events; empty if it takes any.
	Schema Digest `json:"schema,omitempty"`
	Model  Model  `json:"model,omitempty"`

	State            State        `json:"state"`
	StateReason      string       `json:"stateReason,omitempty"`
	StateReasonCode  string       `json:"stateReasonCode,omitempty"`
	UpdateStatus     UpdateStatus `json:"updateStatus"`
	UpdateReason     string       `json:"updateReason,omitempty"`
	UpdateReasonCode string       `json:"updateReasonCode,omitempty"`
	LastModified     time.Time    `json:"lastModified"`
	RevisionID       string       `json:"revisionId"`
}

// Function is one function of an account.
type Function struct {
	UID       tenant.UID          `json:"uid"`
	Account   tenant.AccountID    `json:"account"`
	Name      Name                `json:"name"`
	Tenancy   TenantIsolationMode `json:"tenancy,omitempty"`
	Latest    Version             `json:"latest"`
	NextVer   int                 `json:"nextVersion"`
	Reserved  *int                `json:"reservedConcurrency,omitempty"`
	Tags      map[string]string   `json:"tags,omitempty"`
	CreatedAt time.Time           `json:"createdAt"`
}

// Alias is a name for a version, with an optional second version that gets
// a share of the calls.
type Alias struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Version     string             `json:"version"`
	Weights     map[string]float64 `json:"weights,omitempty"`
	RevisionID  string             `json:"revisionId"`
}

// EventConfig is the configuration of asynchronous calls of one qualifier,
// as in Lambda's event-invoke-config. Nil fields mean the default.
type EventConfig struct {
	Qualifier          string    `json:"qualifier"`
	MaximumRetries     *int      `json:"maximumRetries,omitempty"`
	MaximumEventAgeSec *int      `json:"maximumEventAgeSec,omitempty"`
	OnSuccess          string    `json:"onSuccess,omitempty"`
	OnFailure          string    `json:"onFailure,omitempty"`
	LastModified       time.Time `json:"lastModified"`
}

// SchemaRef names a JSON Schema of events. Without a digest there is none.
type SchemaRef struct {
	// Owner is whose key it is sealed with.
	Owner  tenant.UID
	Digest Digest
}

// Target is one runnable version, resolved and immutable: what the request
// path needs of a function, without a look into the store.
type Target struct {
	// Account is where it runs: the function's account, or the one that is linked
	// to it for an end tenant.
	Account     tenant.AccountID
	AccountUID  tenant.UID
	AccountSlug tenant.Slug
	FunctionUID tenant.UID
	Name        Name
	Tenancy     TenantIsolationMode
	// Version is the number that will run; Qualifier is what the caller asked for.
	Version   string
	Qualifier string
	Revision  string
	Artifact  Digest
	Model     Model
	Runtime   Runtime
	Handler   string
	Role      string
	RoleUID   tenant.UID
	Limits    Limits
	// Environment is the declared environment as KEY=VALUE, with the Lambda
	// variables that are equal for each call of the version.
	Environment []string
	// Reserved is the function's reserved concurrency; negative if none.
	Reserved int
	// Schema is what events have to be like.
	Schema SchemaRef
	// ARN is the qualified name of the function version.
	ARN string
	// Recursive says that the function may be called on in a chain that it is
	// in already.
	Recursive bool
	// Instance says which end tenant's own this is; nil for the function itself.
	Instance *Instance
	// Asked is the function's ARN with the qualifier that the caller asked for,
	// or without one.
	Asked string
}

// Resource is what a call of the target is authorised for: the function as the
// caller named it, as in Lambda. A policy can so be about an alias, whichever
// version it points to.
func (t *Target) Resource() string {
	if t.Asked != "" {
		return t.Asked
	}
	return t.ARN
}

// CheckTenancy demands that a call names an end tenant where the function has
// them, and refuses that it does where it has none. Op is the operation that
// the error names.
//
// Errors: fault.Invalid with Lambda's texts.
func (t *Target) CheckTenancy(op string, named bool) error {
	switch {
	case t.Tenancy == PerTenant && !named:
		return fault.New(op, fault.Invalid,
			"The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again.")
	case t.Tenancy != PerTenant && named:
		return fault.New(op, fault.Invalid,
			"The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again.")
	}
	return nil
}

// FunctionARN is the function's name without a qualifier.
func (t *Target) FunctionARN() string { return strings.TrimSuffix(t.ARN, ":"+t.Version) }
