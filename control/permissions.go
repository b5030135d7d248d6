package control

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// permissionRecord is the policy of a function, or of one of its versions or
// aliases.
type permissionRecord struct {
	Qualifier  string       `json:"qualifier,omitempty"` // empty for the function's own
	Function   tenant.UID   `json:"function"`
	RevisionID string       `json:"revisionId"`
	Statements []permission `json:"statements"`
}

// permission is one statement of a function's policy.
type permission struct {
	ID        string `json:"id"`
	Action    string `json:"action"`
	Principal string `json:"principal"`
	// PrincipalUID is the internal id of a user or role that Principal names:
	// one that has its name later is not meant. It is empty for what does not
	// exist, which is then not meant ever.
	PrincipalUID tenant.UID `json:"principalUid,omitempty"`
	// Bound says that the principal is one that has an internal id.
	Bound         bool   `json:"bound,omitempty"`
	SourceARN     string `json:"sourceArn,omitempty"`
	SourceAccount string `json:"sourceAccount,omitempty"`
	OrgID         string `json:"orgId,omitempty"`
	URLAuthType   string `json:"urlAuthType,omitempty"`
	ViaURL        bool   `json:"viaUrl,omitempty"`
}

// PermissionInput says who may do what with a function.
type PermissionInput struct {
	Name        function.Name
	Qualifier   string
	StatementID string
	Action      string
	Principal   string
	// SourceARN and SourceAccount bound a service to what acts through it.
	SourceARN     string
	SourceAccount string
	OrgID         string
	URLAuthType   string
	ViaURL        bool
	// EventSourceToken is Alexa's, which is not here: it is refused.
	EventSourceToken string
	RevisionID       string
}

var (
	statementForm  = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,100}$`)
	actionForm     = regexp.MustCompile(`^(lambda:[*]|lambda:[a-zA-Z]+|[*])$`)
	principalForm  = regexp.MustCompile(`^[^\s]+$`)
	hostForm       = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	sourceARNForm  = regexp.MustCompile(`^arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)$`)
	orgForm        = regexp.MustCompile(`^o-[a-z0-9]{1,32}$`)
	maxFunctionDoc = policy.ResourceUse.Limit()
)

// The texts of Lambda.
const (
	invalidPrincipal         = "The provided principal was invalid. Please check the principal and try again."
	permissionRevisionFailed = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
)

// AddPermission adds a statement to the policy of a function, or of the
// version or alias that the qualifier names, and gives the statement as JSON.
//
// Errors: fault.Invalid; fault.Conflict for a statement id that is in use;
// fault.Precondition for another RevisionID; fault.TooLarge.
func (s *Service) AddPermission(ctx context.Context, g iam.Grant, in PermissionInput) (statement string, err error) {
	const op = "control.AddPermission"
	a, d, err := s.change(ctx, g, ActionAddPermission, in.Name)
	if err != nil {
		return "", err
	}
	defer a.end(&err)
	if err := d.permissible(op, in.Qualifier); err != nil {
		return "", err
	}
	p, err := s.newPermission(op, a.account, in)
	if err != nil {
		return "", err
	}
	r := permissionRecord{Qualifier: in.Qualifier, Function: d.UID}
	before, exists := d.permissions[in.Qualifier]
	if exists {
		r = before.T
		r.Statements = slices.Clone(r.Statements)
	}
	if in.RevisionID != "" && in.RevisionID != r.RevisionID {
		return "", fault.New(op, fault.Precondition, permissionRevisionFailed).WithCode("PreconditionFailedException")
	}
	if slices.ContainsFunc(r.Statements, func(old permission) bool { return old.ID == p.ID }) {
		return "", fault.New(op, fault.Conflict, "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", p.ID).
			WithCode("ResourceConflictException")
	}
	r.Statements, r.RevisionID = append(r.Statements, p), uuid.NewString()
	text := d.policyText(&r)
	if len(text) > maxFunctionDoc {
		return "", fault.New(op, fault.TooLarge, "The final policy size (%d) is bigger than the limit (%d).", len(text), maxFunctionDoc).
			WithCode("PolicyLengthExceededException")
	}
	if _, _, err := policy.Parse(policy.Resource, []byte(text)); err != nil {
		return "", invalid(op, "The permission is not one that a policy can hold: %s", err)
	}
	if exists {
		return d.statementText(in.Qualifier, p), s.commit(ctx, write{before.key, before.rev, r})
	}
	k, err := s.hide(permissionFamily, d.AccountUID, "/"+in.Qualifier, string(d.UID))
	if err != nil {
		return "", err
	}
	return d.statementText(in.Qualifier, p), s.commit(ctx, write{key: k, record: r})
}

// permissible refuses qualifiers that have no policy.
func (d *deployed) permissible(op, qualifier string) error {
	if qualifier == function.Latest {
		return invalid(op, "We currently do not support adding policies for $LATEST.")
	}
	_, err := d.version(qualifier)
	return err
}

// newPermission makes a statement of an input and checks it.
func (s *Service) newPermission(op string, account tenant.AccountID, in PermissionInput) (permission, error) {
	p := permission{
		ID: in.StatementID, Action: in.Action, Principal: in.Principal, SourceARN: in.SourceARN, SourceAccount: in.SourceAccount,
		OrgID: in.OrgID, URLAuthType: in.URLAuthType, ViaURL: in.ViaURL,
	}
	switch {
	case !statementForm.MatchString(p.ID):
		return p, constraint(op, printable(p.ID), "statementId", "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)")
	case !actionForm.MatchString(p.Action):
		return p, constraint(op, printable(p.Action), "action", `Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])`)
	case !principalForm.MatchString(p.Principal) || len(p.Principal) > 2048:
		return p, constraint(op, printable(p.Principal), "principal", `Member must satisfy regular expression pattern: [^\s]+`)
	case in.EventSourceToken != "":
		return p, invalid(op, "EventSourceToken is for Alexa skills, which do not call functions here.")
	case p.SourceARN != "" && !sourceARNForm.MatchString(p.SourceARN):
		return p, constraint(op, printable(p.SourceARN), "sourceArn", "Member must be an ARN")
	case p.OrgID != "" && !orgForm.MatchString(p.OrgID):
		return p, constraint(op, printable(p.OrgID), "principalOrgID", `Member must satisfy regular expression pattern: o-[a-z0-9]{1,32}`)
	case p.URLAuthType != "" && p.URLAuthType != "NONE" && p.URLAuthType != "AWS_IAM":
		return p, constraint(op, printable(p.URLAuthType), "functionUrlAuthType", "Member must satisfy enum value set: [NONE, AWS_IAM]")
	case p.URLAuthType != "" && p.Action != "lambda:InvokeFunctionUrl":
		return p, invalid(op, "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
	}
	if p.SourceAccount != "" {
		if _, err := tenant.ParseAccountID(p.SourceAccount); err != nil {
			return p, constraint(op, printable(p.SourceAccount), "sourceAccount", `Member must satisfy regular expression pattern: \d{12}`)
		}
	}
	return p, s.bind(op, account, &p)
}

// bind finds whom the principal of a permission means. A user or role of the
// own account has to exist; whether one of another account does is not told.
func (s *Service) bind(op string, account tenant.AccountID, p *permission) error {
	if _, err := tenant.ParseAccountID(p.Principal); err == nil || p.Principal == "*" || hostForm.MatchString(p.Principal) {
		return nil
	}
	if !strings.HasPrefix(p.Principal, "arn:aws:iam::") && !strings.HasPrefix(p.Principal, "arn:aws:sts::") {
		return invalid(op, invalidPrincipal)
	}
	uid, bound, found := s.principalID(p.Principal)
	if bound && !found && directory.AccountIn(p.Principal) == account {
		return invalid(op, invalidPrincipal)
	}
	p.PrincipalUID, p.Bound = uid, bound
	return nil
}

// functionStatement is a statement of a function's policy as Lambda shows it.
type functionStatement struct {
	SID       string                    `json:"Sid"`
	Effect    string                    `json:"Effect"`
	Principal any                       `json:"Principal"`
	Action    string                    `json:"Action"`
	Resource  string                    `json:"Resource"`
	Condition map[string]map[string]any `json:"Condition,omitempty"`
}

func (d *deployed) statement(qualifier string, p permission) functionStatement {
	st := functionStatement{SID: p.ID, Effect: "Allow", Action: p.Action, Resource: d.arn(qualifier)}
	account, err := tenant.ParseAccountID(p.Principal)
	switch {
	case err == nil:
		st.Principal = map[string]string{"AWS": "arn:aws:iam::" + string(account) + ":root"}
	case p.Principal == "*":
		st.Principal = "*"
	case strings.HasPrefix(p.Principal, "arn:"):
		st.Principal = map[string]string{"AWS": p.Principal}
	default:
		st.Principal = map[string]string{"Service": p.Principal}
	}
	when := func(operator, key string, value any) {
		if st.Condition == nil {
			st.Condition = map[string]map[string]any{}
		}
		if st.Condition[operator] == nil {
			st.Condition[operator] = map[string]any{}
		}
		st.Condition[operator][key] = value
	}
	if p.SourceARN != "" {
		when("ArnLike", "AWS:SourceArn", p.SourceARN)
	}
	if p.SourceAccount != "" {
		when("StringEquals", "AWS:SourceAccount", p.SourceAccount)
	}
	if p.OrgID != "" {
		when("StringEquals", "aws:PrincipalOrgID", p.OrgID)
	}
	if p.URLAuthType != "" {
		when("StringEquals", "lambda:FunctionUrlAuthType", p.URLAuthType)
	}
	if p.ViaURL {
		when("Bool", "lambda:InvokedViaFunctionUrl", "true")
	}
	return st
}

func (d *deployed) statementText(qualifier string, p permission) string {
	text, err := json.Marshal(d.statement(qualifier, p))
	if err != nil {
		return "" // never: these are strings
	}
	return string(text)
}

// policyText is the policy of a function as Lambda shows it.
func (d *deployed) policyText(r *permissionRecord) string {
	doc := struct {
		Version   string
		ID        string `json:"Id"`
		Statement []functionStatement
	}{"2012-10-17", "default", []functionStatement{}}
	for _, p := range r.Statements {
		doc.Statement = append(doc.Statement, d.statement(r.Qualifier, p))
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return "" // never: these are strings
	}
	return string(text)
}

// FunctionPolicy is the policy of a function, as JSON.
type FunctionPolicy struct {
	Text       string
	RevisionID string
}

// GetFunctionPolicy gives the policy of a function, or of the version or alias
// that the qualifier names. It is Lambda's GetPolicy.
//
// Errors: fault.NotFound if it has none.
func (s *Service) GetFunctionPolicy(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (FunctionPolicy, error) {
	const op = "control.GetFunctionPolicy"
	d, err := s.read(ctx, g, ActionGetFunctionPolicy, name)
	if err != nil {
		return FunctionPolicy{}, err
	}
	r, found := d.permissions[qualifier]
	if !found {
		return FunctionPolicy{}, noFunctionPolicy(op)
	}
	return FunctionPolicy{d.policyText(&r.T), r.T.RevisionID}, nil
}

func noFunctionPolicy(op string) error {
	return fault.New(op, fault.NotFound, "The resource you requested does not exist.").WithCode("ResourceNotFoundException")
}

// RemovePermissionInput names a statement of a function's policy.
type RemovePermissionInput struct {
	Name        function.Name
	Qualifier   string
	StatementID string
	RevisionID  string
}

// RemovePermission removes a statement. A policy without statements is gone.
//
// Errors: fault.NotFound; fault.Precondition for another RevisionID.
func (s *Service) RemovePermission(ctx context.Context, g iam.Grant, in RemovePermissionInput) (err error) {
	const op = "control.RemovePermission"
	a, d, err := s.change(ctx, g, ActionRemovePermission, in.Name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	before, found := d.permissions[in.Qualifier]
	if !found {
		return fault.New(op, fault.NotFound, "No policy is associated with the given resource.").WithCode("ResourceNotFoundException")
	}
	r := before.T
	if in.RevisionID != "" && in.RevisionID != r.RevisionID {
		return fault.New(op, fault.Precondition, permissionRevisionFailed).WithCode("PreconditionFailedException")
	}
	r.Statements = slices.DeleteFunc(slices.Clone(r.Statements), func(p permission) bool { return p.ID == in.StatementID })
	switch len(r.Statements) {
	case len(before.T.Statements):
		return fault.New(op, fault.NotFound, "Statement %s is not found in resource policy.", printable(in.StatementID)).WithCode("ResourceNotFoundException")
	case 0:
		return s.commit(ctx, write{key: before.key, last: before.rev})
	}
	r.RevisionID = uuid.NewString()
	return s.commit(ctx, write{before.key, before.rev, r})
}

// removePermissions removes the policy of a qualifier that is going to be gone.
func (s *Service) removePermissions(ctx context.Context, d *deployed, qualifier string) error {
	r, found := d.permissions[qualifier]
	if !found {
		return nil
	}
	return s.commit(ctx, write{key: r.key, last: r.rev})
}

// functionSet is the policies of a function, compiled. Gone names those of its
// permissions whose principals are gone.
type functionSet struct {
	gone string
	set  *policy.Set
}

// functionPolicy gives the policies of a function and of its versions and
// aliases: each statement names the one that it is about. Nil if there is none.
func (s *Service) functionPolicy(d *deployed) *policy.Set {
	if len(d.permissions) == 0 {
		return nil
	}
	gone := ""
	for i := range d.bound {
		if !s.means(d.bound[i]) {
			gone += strconv.Itoa(i) + " "
		}
	}
	if made := d.policies.Load(); made != nil && made.gone == gone {
		return made.set
	}
	made := &functionSet{gone: gone}
	var texts []directory.Text
	for _, r := range d.permissions {
		kept := r.T
		kept.Statements = slices.DeleteFunc(slices.Clone(kept.Statements), func(p permission) bool { return p.Bound && !s.means(p) })
		if len(kept.Statements) > 0 {
			texts = append(texts, directory.Text{Name: "policy of " + d.arn(r.T.Qualifier), Kind: policy.Resource, Text: d.policyText(&kept)})
		}
	}
	slices.SortFunc(texts, func(a, b directory.Text) int { return strings.Compare(a.Name, b.Name) })
	made.set, _ = s.compiler.Compile(texts...) // nil if one cannot be read: it allows nobody then
	d.policies.Store(made)
	return made.set
}

// means tells whether who has the name of a permission's principal is whom the
// permission was given to.
func (s *Service) means(p permission) bool {
	uid, _, found := s.principalID(p.Principal)
	return found && uid == p.PrincipalUID && uid != ""
}
