package directory

import (
	"embed"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// The managed policies that are built in and that the platform itself names.
const (
	builtinPrefix = "arn:aws:iam::aws:policy/"
	// AdministratorAccess allows everything that guardrails leave.
	AdministratorAccess = builtinPrefix + "AdministratorAccess"
	// Operator and Auditor are for the management account.
	Operator = builtinPrefix + "carrel/CarrelOperator"
	Auditor  = builtinPrefix + "carrel/CarrelAuditor"
	// TenantAdmin and its kin are for the people of a tenant.
	TenantAdmin         = builtinPrefix + "carrel/CarrelTenantAdmin"
	TenantDeveloper     = builtinPrefix + "carrel/CarrelTenantDeveloper"
	TenantBillingReader = builtinPrefix + "carrel/CarrelTenantBillingReader"
	// FullAWSAccess is the SCP that a target has unless it is given others, and
	// RCPFullAWSAccess the RCP that every target has.
	FullAWSAccess    = builtinPrefix + "FullAWSAccess"
	RCPFullAWSAccess = builtinPrefix + "RCPFullAWSAccess"
)

// A built-in policy stands in policies/NAME.json, or, where its path is
// /carrel/, in policies/carrel/NAME.json.
//
//go:embed policies
var texts embed.FS

// builtinSince is when the first of the built-in policies came about.
var builtinSince = time.Date(2026, time.November, 25, 0, 0, 0, 0, time.UTC)

var builtins = sync.OnceValue(func() *Table[Policy] {
	var changes []Change
	for _, folder := range []string{"policies", "policies/carrel"} {
		files, _ := texts.ReadDir(folder) // what is embedded can be read
		for _, f := range files {
			name, isPolicy := strings.CutSuffix(f.Name(), ".json")
			text, _ := texts.ReadFile(path.Join(folder, f.Name()))
			if isPolicy {
				changes = append(changes, Change{After: builtin(strings.TrimPrefix(folder, "policies"), name, string(text))})
			}
		}
	}
	return newTable(policyNames).with(changes)
})

func builtin(folder, name, text string) *Policy {
	folder += "/"
	return &Policy{
		Account: "aws", Name: name, Path: folder, ARN: "arn:aws:iam::aws:policy" + folder + name, ID: "ANPA" + strings.ToUpper(name),
		Versions: []PolicyVersion{{ID: "v1", Text: strings.TrimSpace(text), CreatedAt: builtinSince}}, Default: "v1", Next: 2,
		CreatedAt: builtinSince, UpdatedAt: builtinSince,
	}
}

// Builtin finds a built-in policy by its ARN.
func Builtin(arn string) (*Policy, bool) {
	e, found := builtins().ByID(arn)
	if !found {
		return nil, false
	}
	return e.Record, true
}

// Builtins lists the built-in policies by their ARNs.
func Builtins() []*Policy {
	var list []*Policy
	builtins().Each(func(e *Entry[Policy]) bool { list = append(list, e.Record); return true })
	slices.SortFunc(list, func(a, b *Policy) int { return strings.Compare(a.ARN, b.ARN) })
	return list
}

// IsBuiltin tells whether an ARN is of the built-in policies' kind, whether
// there is one of the name or not.
func IsBuiltin(arn string) bool { return strings.HasPrefix(arn, builtinPrefix) }

// Text gives the text of the version that counts.
func (p *Policy) Text() string {
	v, _ := p.Version(p.Default)
	return v.Text
}

// Version finds a version by its id.
func (p *Policy) Version(id string) (PolicyVersion, bool) {
	for _, v := range p.Versions {
		if v.ID == id {
			return v, true
		}
	}
	return PolicyVersion{}, false
}
