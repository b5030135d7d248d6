package policy

import (
	"fmt"
	"unicode/utf8"
)

// Use is what a policy is written for; the size it may have depends on it.
type Use uint8

// The uses, with the limits of AWS in characters.
const (
	// ManagedUse is a managed policy or a permissions boundary: 6,144.
	ManagedUse Use = iota
	// UserInlineUse is an inline policy of a user: 2,048 in sum over all of them.
	UserInlineUse
	// GroupInlineUse is an inline policy of a group: 5,120 in sum.
	GroupInlineUse
	// RoleInlineUse is an inline policy of a role: 10,240 in sum.
	RoleInlineUse
	// TrustUse is the trust policy of a role: 2,048.
	TrustUse
	// LongTrustUse is a trust policy where the quota was raised: 4,096.
	LongTrustUse
	// SessionUse is a session policy that is passed inline: 2,048.
	SessionUse
	// GuardrailUse is an SCP or an RCP: 5,120.
	GuardrailUse
	// ResourceUse is the policy of a resource: 20,480, as for buckets and functions.
	ResourceUse
)

// MaxBytes is what a document may have in all, with the white space that
// AWS does not count.
const MaxBytes = 64 << 10

// uses are the limits in characters, and whether white space outside strings
// counts: it does where AWS bounds the parameter or the stored bytes, and
// does not where IAM counts. Sources: IAM and STS quotas, Organizations quotas.
var uses = [...]struct {
	name   string
	limit  int
	spaces bool
}{
	ManagedUse:     {"a managed policy", 6144, false},
	UserInlineUse:  {"the inline policies of a user", 2048, false},
	GroupInlineUse: {"the inline policies of a group", 5120, false},
	RoleInlineUse:  {"the inline policies of a role", 10240, false},
	TrustUse:       {"a trust policy", 2048, false},
	LongTrustUse:   {"a trust policy", 4096, false},
	SessionUse:     {"a session policy", 2048, true},
	GuardrailUse:   {"a control policy", 5120, true},
	ResourceUse:    {"a resource policy", 20480, true},
}

// Limit is how many characters the policies of a use may have. For inline
// policies it bounds their sum.
func (u Use) Limit() int { return uses[u].limit }

// String is what an error calls the use.
func (u Use) String() string { return uses[u].name }

// Size is how many characters of a document count against Limit.
func (u Use) Size(text []byte) int {
	if uses[u].spaces {
		return utf8.RuneCount(text)
	}
	n, inside := 0, false
	for i := 0; i < len(text); {
		c := text[i]
		_, size := utf8.DecodeRune(text[i:])
		i += size
		if inside && c == '\\' && i < len(text) {
			_, size := utf8.DecodeRune(text[i:])
			i += size
			n += 2
			continue
		}
		if c == '"' {
			inside = !inside
		}
		if inside || !isSpace(c) {
			n++
		}
	}
	return n
}

// useOf is what Parse assumes of a kind.
var useOf = [...]Use{
	Identity: ManagedUse, Resource: ResourceUse, Trust: TrustUse, Boundary: ManagedUse,
	Session: SessionUse, SCP: GuardrailUse, RCP: GuardrailUse,
}

func checkSize(use Use, text []byte) *Error {
	if len(text) > MaxBytes {
		return &Error{Path: "$", Message: fmt.Sprintf("the document has %d bytes; %d are the most.", len(text), MaxBytes), Remedy: "Shorten it, or divide it into several policies."}
	}
	if n := use.Size(text); n > use.Limit() {
		return &Error{Path: "$", Message: fmt.Sprintf("the document has %d characters; %s may have %d.", n, use, use.Limit()), Remedy: "Shorten it, for example with wildcards, or divide it into several policies."}
	}
	return nil
}
