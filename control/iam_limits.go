package control

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
)

// The quotas of IAM, at AWS's defaults; those of policies' sizes are in
// package policy. Source: IAM User Guide, IAM and STS quotas.
const (
	maxUsers          = 5_000
	maxGroups         = 300
	maxRoles          = 1_000
	maxPolicies       = 1_500
	maxProviders      = 100
	maxKeysOfUser     = 2
	maxGroupsOfUser   = 10
	maxAttached       = 10
	maxPolicyVersions = 5
	maxClientIDs      = 100
	maxThumbprints    = 5
	maxUserName       = 64
	maxGroupName      = 128
	maxRoleName       = 64
	maxPolicyName     = 128
	maxPath           = 512
	maxIAMDescription = 1_000
	maxProviderURL    = 255
	maxClientID       = 255
	maxPolicyDocument = 131_072
	minSession        = 3_600
	maxSession        = 43_200
	defaultSession    = 3_600
	maxInlineOfGroup  = 64 // our own: AWS bounds the sum of the sizes only
	maxClaimTags      = 50 // our own
	iamPageItems      = 100
	maxIAMPageItems   = 1_000
	reservedTag       = "tenant_id"
	reservedByAWS     = "aws:"
	maxTagsOfIAM      = 50
)

var (
	iamNameForm     = regexp.MustCompile(`^[\w+=,.@-]+$`)
	iamPathForm     = regexp.MustCompile(`^(/|/[\x21-\x7E]+/)$`)
	descriptionForm = regexp.MustCompile(`^[\t\n\r\x20-\x7E\x{A1}-\x{FF}]*$`)
)

// The errors of IAM, by AWS's codes.

func noSuchEntity(op, format string, args ...any) error {
	return fault.New(op, fault.NotFound, format, args...).WithCode("NoSuchEntity")
}

func alreadyExists(op, format string, args ...any) error {
	return fault.New(op, fault.Conflict, format, args...).WithCode("EntityAlreadyExists")
}

func deleteConflict(op, format string, args ...any) error {
	return fault.New(op, fault.Conflict, format, args...).WithCode("DeleteConflict")
}

func limitExceeded(op, format string, args ...any) error {
	return fault.New(op, fault.Conflict, format, args...).WithCode("LimitExceeded")
}

func overQuota(op, quota string, most int) error {
	return limitExceeded(op, "Cannot exceed quota for %s: %d", quota, most)
}

func invalidInput(op, format string, args ...any) error {
	return fault.New(op, fault.Invalid, format, args...).WithCode("InvalidInput")
}

func malformedPolicy(op, format string, args ...any) error {
	return fault.New(op, fault.Invalid, format, args...).WithCode("MalformedPolicyDocument")
}

// unmodifiable is for what was changed by another request at the same time.
func unmodifiable(op string, cause error) error {
	return fault.Wrap(op, fault.Conflict, cause, "The entity is being changed by another request at the same time.").
		WithCode("EntityTemporarilyUnmodifiable").WithRemedy("Look at it and try again.")
}

// breaks has the form of AWS's messages about a parameter, with IAM's code.
func breaks(op, value, field, rule string) error {
	return fault.New(op, fault.Invalid, "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", printable(value), field, rule).
		WithCode("ValidationError")
}

// checkName checks the name of a user, group, role or policy.
func checkName(op, field, name string, most int) error {
	switch {
	case name == "":
		return breaks(op, name, field, "Member must have length greater than or equal to 1")
	case len(name) > most:
		return breaks(op, name, field, fmt.Sprintf("Member must have length less than or equal to %d", most))
	case !iamNameForm.MatchString(name):
		return fault.New(op, fault.Invalid, "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", field).
			WithCode("ValidationError")
	}
	return nil
}

// checkPath checks a path; an empty one is "/".
func checkPath(op string, path *string) error {
	if *path == "" {
		*path = "/"
	}
	switch {
	case len(*path) > maxPath:
		return breaks(op, *path, "path", "Member must have length less than or equal to 512")
	case !iamPathForm.MatchString(*path):
		return fault.New(op, fault.Invalid, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.").
			WithCode("ValidationError")
	}
	return nil
}

func checkDescription(op, text string) error {
	switch {
	case utf8.RuneCountInString(text) > maxIAMDescription:
		return breaks(op, text, "description", "Member must have length less than or equal to 1000")
	case !descriptionForm.MatchString(text):
		return breaks(op, text, "description", `Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`)
	}
	return nil
}

// checkIAMTags checks the tags of a user, role, policy or provider as a whole.
// The key tenant_id is the platform's: what a principal's tag of that name is
// worth hangs on nobody else being able to set it.
func checkIAMTags(op string, tags []call.Tag) error {
	if len(tags) > maxTagsOfIAM {
		return limitExceeded(op, "The number of tags has reached the maximum limit.")
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		key := strings.ToLower(t.Key)
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey:
			return breaks(op, t.Key, "tags.member.key", "Member must have length between 1 and 128")
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return breaks(op, t.Value, "tags.member.value", "Member must have length less than or equal to 256")
		case !tagForm.MatchString(t.Key):
			return breaks(op, t.Key, "tags.member.key", `Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`)
		case !tagForm.MatchString(t.Value):
			return breaks(op, t.Value, "tags.member.value", `Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
		case strings.HasPrefix(key, reservedByAWS):
			return invalidInput(op, "System tags cannot be added/updated/deleted by requester")
		case isReservedTag(t.Key):
			return invalidInput(op, "The tag key %s is the platform's: it gives every principal the name of its tenant.", printable(t.Key))
		case seen[key]:
			return invalidInput(op, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
	}
	return nil
}

// isReservedTag tells whether nobody but the platform may set a tag of the
// key, as the tag of a resource or of a session. White space around it does
// not make it another, nor do letters that only some ways of folding take for
// one of its own, such as the dotless i.
func isReservedTag(key string) bool {
	key = strings.TrimSpace(key)
	return strings.EqualFold(key, reservedTag) || strings.ToLower(key) == reservedTag ||
		strings.ToLower(strings.ToUpper(key)) == reservedTag
}

// checkPolicyText checks a policy that is to be written. The limit is of its
// use; for inline policies the caller bounds the sum.
func checkPolicyText(op string, use policy.Use, kind policy.Kind, text string) (*policy.Document, error) {
	switch {
	case text == "":
		return nil, breaks(op, text, "policyDocument", "Member must have length greater than or equal to 1")
	case len(text) > maxPolicyDocument:
		return nil, breaks(op, text, "policyDocument", "Member must have length less than or equal to 131072")
	case use == policy.TrustUse && use.Size([]byte(text)) > use.Limit():
		return nil, overQuota(op, "ACLSizePerRole", use.Limit())
	case use == policy.ManagedUse && use.Size([]byte(text)) > use.Limit():
		return nil, overQuota(op, "PolicySize", use.Limit())
	}
	doc, _, err := policy.ParseFor(use, kind, []byte(text))
	var refused *policy.Error
	if errors.As(err, &refused) {
		return nil, fault.New(op, fault.Invalid, "%s: %s", refused.Path, refused.Message).
			WithCode("MalformedPolicyDocument").WithRemedy("%s", refused.Remedy)
	}
	if err != nil {
		return nil, malformedPolicy(op, "%s", err)
	}
	return doc, nil
}
