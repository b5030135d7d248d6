package function

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/carrel-dev/carrel/tenant"
)

// Name is a function's name inside its account, as in Lambda.
type Name string

// Latest is the qualifier of the version that is being worked on.
const Latest = "$LATEST"

var (
	nameForm      = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	versionForm   = regexp.MustCompile(`^[0-9]{1,18}$`)
	aliasForm     = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	regionForm    = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	roleForm      = regexp.MustCompile(`^arn:aws:iam::([0-9]{12}):role/([A-Za-z0-9+=,.@_/-]{1,512})$`)
	allDigitsForm = regexp.MustCompile(`^[0-9]+$`)
)

// ParseName checks a bare function name.
func ParseName(s string) (Name, error) {
	if !nameForm.MatchString(s) {
		return "", fmt.Errorf("function name %q: need 1 to 64 of a-z, A-Z, 0-9, '-' and '_'", s)
	}
	return Name(s), nil
}

// ParseAliasName checks an alias name: as in Lambda it may not look like a
// version number.
func ParseAliasName(s string) (string, error) {
	if !aliasForm.MatchString(s) || allDigitsForm.MatchString(s) {
		return "", fmt.Errorf("alias name %q: need 1 to 128 of a-z, A-Z, 0-9, '-' and '_', not only digits", s)
	}
	return s, nil
}

// ParseRegion checks the form of a region's name.
func ParseRegion(s string) (string, error) {
	if !regionForm.MatchString(s) {
		return "", fmt.Errorf("region %q: need a name such as us-east-1", s)
	}
	return s, nil
}

// IsVersion tells whether a qualifier names a published version.
func IsVersion(qualifier string) bool { return versionForm.MatchString(qualifier) }

// Reference names a function as callers write it. Account and Region are
// empty where the caller left them out; Qualifier likewise.
type Reference struct {
	Region    string
	Account   tenant.AccountID
	Name      Name
	Qualifier string
}

// ParseReference reads the four forms that Lambda takes: NAME,
// NAME:QUALIFIER, ACCOUNT:function:NAME[:QUALIFIER] and
// arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER].
func ParseReference(s string) (Reference, error) {
	if len(s) > 256 {
		return Reference{}, fmt.Errorf("function name of %d characters: at most 256 are taken", len(s))
	}
	var r Reference
	rest := s
	if tail, found := strings.CutPrefix(s, "arn:"); found {
		parts := strings.SplitN(tail, ":", 5)
		if len(parts) != 5 || parts[0] != "aws" || parts[1] != "lambda" {
			return Reference{}, fmt.Errorf("function ARN %q: need arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]", s)
		}
		region, err := ParseRegion(parts[2])
		if err != nil {
			return Reference{}, err
		}
		r.Region, rest = region, parts[3]+":"+parts[4]
		if !strings.HasPrefix(parts[4], "function:") {
			return Reference{}, fmt.Errorf("function ARN %q does not name a function", s)
		}
	}
	parts := strings.Split(rest, ":")
	if len(parts) >= 3 && parts[1] == "function" {
		account, err := tenant.ParseAccountID(parts[0])
		if err != nil {
			return Reference{}, err
		}
		r.Account, parts = account, parts[2:]
	}
	if len(parts) > 2 {
		return Reference{}, fmt.Errorf("function name %q has too many parts", s)
	}
	name, err := ParseName(parts[0])
	if err != nil {
		return Reference{}, err
	}
	r.Name = name
	if len(parts) == 2 {
		r.Qualifier = parts[1]
		return r, checkQualifier(parts[1])
	}
	return r, nil
}

// CheckQualifier checks the form of a version number, alias name or $LATEST.
func CheckQualifier(q string) error { return checkQualifier(q) }

func checkQualifier(q string) error {
	if q == Latest || versionForm.MatchString(q) || aliasForm.MatchString(q) {
		return nil
	}
	return fmt.Errorf("qualifier %q: need $LATEST, a version number or an alias name", q)
}

// ARN gives the name of a function, with the qualifier if there is one.
func ARN(region string, account tenant.AccountID, name Name, qualifier string) string {
	arn := "arn:aws:lambda:" + region + ":" + string(account) + ":function:" + string(name)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}

// ParseRoleARN checks the form of an execution role and gives its account.
func ParseRoleARN(s string) (tenant.AccountID, error) {
	m := roleForm.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("role %q: need arn:aws:iam::ACCOUNT:role/NAME", s)
	}
	return tenant.AccountID(m[1]), nil
}
