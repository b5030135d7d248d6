package policy

import (
	"math/big"
	"net/netip"
)

// Kind says where a policy stands. What a policy may contain, and what it
// can do, depends on it.
type Kind uint8

// The kinds of policies.
const (
	// Identity policies are attached to users, groups and roles.
	Identity Kind = iota
	// Resource policies are attached to what is acted on.
	Resource
	// Trust policies are the resource policies of roles.
	Trust
	// Boundary policies bound what identity policies can allow.
	Boundary
	// Session policies bound a session, and the calls below a link of a chain.
	Session
	// SCP policies bound the principals of an account.
	SCP
	// RCP policies bound the resources of an account.
	RCP
)

// Version is the version of the policy language that a document is written in.
type Version string

// The versions. Variables are only replaced in documents of Version2012;
// a document that names none is of Version2008.
const (
	Version2008 Version = "2008-10-17"
	Version2012 Version = "2012-10-17"
)

// Effect is what a statement that matches does.
type Effect uint8

// The effects.
const (
	Deny Effect = iota
	Allow
)

// Document is one policy as it was written, checked and taken apart.
type Document struct {
	Kind       Kind
	Version    Version
	ID         string
	Statements []Statement
	// Written holds actions and condition keys as they were first written, by
	// what they are in lower case, where the two differ.
	Written map[string]string
}

// Statement is one statement of a policy. Exactly one of each pair (Action,
// NotAction) and so on was written; the Not fields say which.
type Statement struct {
	SID    string
	Effect Effect
	// Principals is nil in policies that are attached to a principal.
	Principals   *Principals
	NotPrincipal bool
	// Actions match the whole action, as in s3:getobject; letters are in lower
	// case, for matching does not heed case.
	Actions   []Pattern
	NotAction bool
	// Resources is empty where a policy has none (trust policies).
	Resources   []ARNPattern
	NotResource bool
	Conditions  []Condition
}

// Principals is whom a statement of a resource policy is about.
type Principals struct {
	// Any is "*" or {"AWS":"*"}: everybody, anonymous callers too.
	Any bool
	// AWS holds ARNs. An account, whichever way it was written, stands as
	// arn:aws:iam::ACCOUNT:root.
	AWS []string
	// Service holds service hosts, as in lambda.amazonaws.com.
	Service []string
	// Federated holds ARNs of identity providers, or their hosts.
	Federated []string
}

// Pattern is text with wildcards and variables, taken apart. Neighbouring
// literals are one token, and so are neighbouring runs.
type Pattern []Token

// TokenKind says what a token of a pattern stands for.
type TokenKind uint8

// The kinds of tokens.
const (
	// Literal stands for Text itself.
	Literal TokenKind = iota
	// Run is '*': any characters, or none.
	Run
	// One is '?': any one character.
	One
	// Variable is the value of the key named by Text; matched literally, and
	// if there is none, by Default if HasDefault. Else the pattern matches
	// nothing.
	Variable
)

// Token is one part of a pattern.
type Token struct {
	Kind TokenKind
	// Text is the literal, or a variable's key in lower case. The alias
	// tenant_id stands as carrel:tenantid.
	Text       string
	HasDefault bool
	Default    string
}

// ARNPattern is a resource pattern. Parts one to five (arn, partition,
// service, region, account) are matched each for itself, and none spans a
// colon; the sixth is the rest, colons included.
type ARNPattern struct {
	// All is the pattern "*", which matches everything; Parts are empty then.
	All   bool
	Parts [6]Pattern
}

// Operator is a condition operator without its modifiers.
type Operator uint8

// The operators.
const (
	StringEquals Operator = iota
	StringNotEquals
	StringEqualsIgnoreCase
	StringNotEqualsIgnoreCase
	StringLike
	StringNotLike
	NumericEquals
	NumericNotEquals
	NumericLessThan
	NumericLessThanEquals
	NumericGreaterThan
	NumericGreaterThanEquals
	DateEquals
	DateNotEquals
	DateLessThan
	DateLessThanEquals
	DateGreaterThan
	DateGreaterThanEquals
	Bool
	BinaryEquals
	IPAddress
	NotIPAddress
	ArnEquals
	ArnNotEquals
	ArnLike
	ArnNotLike
	Null
)

// Quantifier is how a condition treats keys of several values.
type Quantifier uint8

// The quantifiers.
const (
	// Single takes keys of one value; one of several never matches.
	Single Quantifier = iota
	// ForAnyValue wants one of the request's values to match.
	ForAnyValue
	// ForAllValues wants all of them to match; an absent key does.
	ForAllValues
)

// Condition is one key of one operator of a statement's condition block.
type Condition struct {
	Operator   Operator
	Quantifier Quantifier
	IfExists   bool
	// Key is the condition key in lower case, as in aws:principaltag/tenant_id;
	// tenant_id stands as carrel:tenantid.
	Key string
	// Values are what is compared with: one of them is enough, and for the
	// inverted operators none may match.
	Values []Value
}

// Value is one value of a condition. Text is as it was written; Pattern is
// its parsed form where the operator takes variables or wildcards, wildcards
// only where the operator has them. For Arn operators Parts are the six
// colon-separated parts. Typed forms of other operators are in the fields
// named for them.
type Value struct {
	Text    string
	Pattern Pattern
	Parts   [6]Pattern
	// Number is exact; nil for operators that compare no numbers.
	Number *big.Rat
	// Time is in nanoseconds since 1970, UTC.
	Time int64
	// Bool is of Bool and Null.
	Bool bool
	// Binary is of BinaryEquals, decoded.
	Binary []byte
	// Prefix is of IPAddress and NotIPAddress.
	Prefix netip.Prefix
}
