package awsapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// timeForm is how Lambda writes LastModified.
const timeForm = "2006-01-02T15:04:05.000-0700"

// What is the same for every function of Carrel.
const (
	packageType    = "Zip"
	architecture   = "x86_64"
	ephemeralMB    = 512
	tracingMode    = "PassThrough"
	snapStartOff   = "None"
	logFormat      = "Text"
	logGroupPrefix = "/aws/lambda/"
)

// functionConfiguration is AWS's FunctionConfiguration.
type functionConfiguration struct {
	Architectures              []string       `json:"Architectures"`
	CodeSha256                 string         `json:"CodeSha256"`
	CodeSize                   int64          `json:"CodeSize"`
	Description                string         `json:"Description"`
	Environment                *variables     `json:"Environment,omitempty"`
	EphemeralStorage           sized          `json:"EphemeralStorage"`
	FunctionArn                string         `json:"FunctionArn"`
	FunctionName               string         `json:"FunctionName"`
	Handler                    string         `json:"Handler,omitempty"`
	LastModified               string         `json:"LastModified"`
	LastUpdateStatus           string         `json:"LastUpdateStatus,omitempty"`
	LastUpdateStatusReason     string         `json:"LastUpdateStatusReason,omitempty"`
	LastUpdateStatusReasonCode string         `json:"LastUpdateStatusReasonCode,omitempty"`
	LoggingConfig              loggingConfig  `json:"LoggingConfig"`
	MemorySize                 int            `json:"MemorySize"`
	PackageType                string         `json:"PackageType"`
	RevisionID                 string         `json:"RevisionId"`
	Role                       string         `json:"Role"`
	Runtime                    string         `json:"Runtime"`
	SnapStart                  snapStart      `json:"SnapStart"`
	State                      string         `json:"State,omitempty"`
	StateReason                string         `json:"StateReason,omitempty"`
	StateReasonCode            string         `json:"StateReasonCode,omitempty"`
	TenancyConfig              *tenancyConfig `json:"TenancyConfig,omitempty"`
	Timeout                    int            `json:"Timeout"`
	TracingConfig              tracingConfig  `json:"TracingConfig"`
	Version                    string         `json:"Version"`
}

type (
	variables struct {
		Variables map[string]string `json:"Variables"`
	}
	sized struct {
		Size int `json:"Size"`
	}
	loggingConfig struct {
		LogFormat string `json:"LogFormat"`
		LogGroup  string `json:"LogGroup"`
	}
	snapStart struct {
		ApplyOn            string `json:"ApplyOn"`
		OptimizationStatus string `json:"OptimizationStatus"`
	}
	tenancyConfig struct {
		TenantIsolationMode string `json:"TenantIsolationMode"`
	}
	tracingConfig struct {
		Mode string `json:"Mode"`
	}
)

// configuration gives a version as AWS shows it.
func configuration(v control.FunctionView) functionConfiguration {
	version := v.Version
	c := functionConfiguration{
		Architectures: []string{architecture}, CodeSha256: digestBase64(version.Package), CodeSize: version.PackageSize,
		Description: version.Description, EphemeralStorage: sized{ephemeralMB},
		FunctionArn: v.ARN, FunctionName: string(v.Function.Name), Handler: version.Handler,
		LastModified:     version.LastModified.UTC().Format(timeForm),
		LastUpdateStatus: string(version.UpdateStatus), LastUpdateStatusReason: version.UpdateReason,
		LastUpdateStatusReasonCode: version.UpdateReasonCode,
		LoggingConfig:              loggingConfig{logFormat, logGroupPrefix + string(v.Function.Name)},
		MemorySize:                 version.Limits.MemoryMB, PackageType: packageType, RevisionID: version.RevisionID,
		Role: version.Role, Runtime: string(version.Runtime), SnapStart: snapStart{snapStartOff, "Off"},
		State: string(version.State), StateReason: version.StateReason, StateReasonCode: version.StateReasonCode,
		Timeout:       int(version.Limits.Timeout / time.Second),
		TracingConfig: tracingConfig{tracingMode}, Version: version.Number,
	}
	if len(version.Environment) > 0 {
		c.Environment = &variables{version.Environment}
	}
	if v.Function.Tenancy != "" {
		c.TenancyConfig = &tenancyConfig{string(v.Function.Tenancy)}
	}
	return c
}

// digestBase64 gives a digest in the form of CodeSha256.
func digestBase64(d function.Digest) string {
	raw, err := hex.DecodeString(string(d))
	if err != nil {
		return "" // a digest is hex by its type's definition
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// digestHex is digestBase64 turned round. What is no digest stays as it is:
// it will not be equal to one.
func digestHex(s string) string {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(raw) != sha256.Size {
		return s
	}
	return hex.EncodeToString(raw)
}

type functionReply struct {
	Code          codeLocation          `json:"Code"`
	Concurrency   *concurrency          `json:"Concurrency,omitempty"`
	Configuration functionConfiguration `json:"Configuration"`
	Tags          map[string]string     `json:"Tags,omitempty"`
}

// codeLocation is AWS's FunctionCodeLocation. It is there, as clients demand
// it, and empty: Carrel has no address to fetch code from without a signature.
type codeLocation struct{}

type concurrency struct {
	Reserved *int `json:"ReservedConcurrentExecutions,omitempty"`
}

type functionPage struct {
	Functions  []functionConfiguration `json:"Functions"`
	NextMarker string                  `json:"NextMarker,omitempty"`
}

type versionPage struct {
	NextMarker string                  `json:"NextMarker,omitempty"`
	Versions   []functionConfiguration `json:"Versions"`
}

// configurations gives versions as lists show them: without their states,
// which AWS tells only to those who ask for one version.
func configurations(views []control.FunctionView) []functionConfiguration {
	list := make([]functionConfiguration, len(views))
	for i, v := range views {
		c := configuration(v)
		c.State, c.StateReason, c.StateReasonCode = "", "", ""
		c.LastUpdateStatus, c.LastUpdateStatusReason, c.LastUpdateStatusReasonCode = "", "", ""
		list[i] = c
	}
	return list
}

type aliasReply struct {
	AliasArn        string         `json:"AliasArn"`
	Description     string         `json:"Description"`
	FunctionVersion string         `json:"FunctionVersion"`
	Name            string         `json:"Name"`
	RevisionID      string         `json:"RevisionId"`
	RoutingConfig   *routingConfig `json:"RoutingConfig,omitempty"`
}

type routingConfig struct {
	AdditionalVersionWeights map[string]float64 `json:"AdditionalVersionWeights"`
}

type aliasPage struct {
	Aliases    []aliasReply `json:"Aliases"`
	NextMarker string       `json:"NextMarker,omitempty"`
}

// named is what an alias or an event configuration belongs to.
type named struct {
	region  string
	account tenant.AccountID
	name    function.Name
}

func (n named) alias(a function.Alias) aliasReply {
	reply := aliasReply{
		AliasArn: function.ARN(n.region, n.account, n.name, a.Name), Description: a.Description,
		FunctionVersion: a.Version, Name: a.Name, RevisionID: a.RevisionID,
	}
	if len(a.Weights) > 0 {
		reply.RoutingConfig = &routingConfig{a.Weights}
	}
	return reply
}

type eventConfigReply struct {
	DestinationConfig        destinations `json:"DestinationConfig"`
	FunctionArn              string       `json:"FunctionArn"`
	LastModified             json.Number  `json:"LastModified"`
	MaximumEventAgeInSeconds *int         `json:"MaximumEventAgeInSeconds,omitempty"`
	MaximumRetryAttempts     *int         `json:"MaximumRetryAttempts,omitempty"`
}

type destinations struct {
	OnFailure destination `json:"OnFailure"`
	OnSuccess destination `json:"OnSuccess"`
}

type destination struct {
	Destination string `json:"Destination,omitempty"`
}

type eventConfigPage struct {
	Configs    []eventConfigReply `json:"FunctionEventInvokeConfigs"`
	NextMarker string             `json:"NextMarker,omitempty"`
}

func (n named) eventConfig(c function.EventConfig) eventConfigReply {
	qualifier := c.Qualifier
	if qualifier == "" {
		qualifier = function.Latest
	}
	return eventConfigReply{
		DestinationConfig:        destinations{destination{c.OnFailure}, destination{c.OnSuccess}},
		FunctionArn:              function.ARN(n.region, n.account, n.name, qualifier),
		LastModified:             epochSeconds(c.LastModified),
		MaximumEventAgeInSeconds: c.MaximumEventAgeSec, MaximumRetryAttempts: c.MaximumRetries,
	}
}

// epochSeconds is how Lambda writes the timestamps of event configurations.
func epochSeconds(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

type tagsReply struct {
	Tags map[string]string `json:"Tags"`
}

type accountReply struct {
	AccountLimit accountLimit `json:"AccountLimit"`
	AccountUsage accountUsage `json:"AccountUsage"`
}

type accountLimit struct {
	CodeSizeUnzipped               int64 `json:"CodeSizeUnzipped"`
	CodeSizeZipped                 int64 `json:"CodeSizeZipped"`
	ConcurrentExecutions           int   `json:"ConcurrentExecutions"`
	TotalCodeSize                  int64 `json:"TotalCodeSize"`
	UnreservedConcurrentExecutions int   `json:"UnreservedConcurrentExecutions"`
}

type accountUsage struct {
	FunctionCount int64 `json:"FunctionCount"`
	TotalCodeSize int64 `json:"TotalCodeSize"`
}

type codeSigningReply struct {
	FunctionName string `json:"FunctionName"`
}
