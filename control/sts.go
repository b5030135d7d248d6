package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/tenant"
)

// The actions of STS.
const (
	ActionAssumeRole         = "sts:AssumeRole"
	ActionAssumeRoleWeb      = "sts:AssumeRoleWithWebIdentity"
	ActionTagSession         = "sts:TagSession"
	ActionSetSourceIdentity  = "sts:SetSourceIdentity"
	ActionGetSessionToken    = "sts:GetSessionToken"
	ActionGetFederationToken = "sts:GetFederationToken"
	ActionGetAccessKeyInfo   = "sts:GetAccessKeyInfo"
	ActionDecodeMessage      = "sts:DecodeAuthorizationMessage"
)

// The bounds of sessions: STS API Reference, and IAM and STS quotas. Lengths
// of time are seconds.
const (
	minDuration      = 900
	maxChained       = 3_600
	maxUserDuration  = 129_600
	userDuration     = 43_200
	maxSessionPolicy = 2_048 // characters
	maxSessionARNs   = 10
	maxExternalID    = 1_224
	// maxPacked bounds policies and tags of a session together, in bytes. AWS
	// does not tell its bound.
	maxPacked = 4_096
	// sessionsPerSecond is how many sessions an account may ask for, averaged.
	sessionsPerSecond = 100
)

var (
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`) // at most maxExternalID
	federatedForm   = regexp.MustCompile(`^[\w+=,.@-]{2,32}$`)
)

// SessionCredentials are temporary credentials as the operation that makes
// them gives them. Printed or logged, they show no secret.
type SessionCredentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
	// ARN and UserID are the principal's; for roles the UserID is the
	// AssumedRoleId.
	ARN, UserID string
	// PackedPolicySize is how much of their bound policies and tags take, in
	// percent.
	PackedPolicySize int
	SourceIdentity   string
}

// Format names the key without its secret, whatever the verb.
func (c SessionCredentials) Format(f fmt.State, _ rune) {
	io.WriteString(f, "temporary access key "+c.AccessKeyID)
}

// LogValue is Format, for log/slog.
func (c SessionCredentials) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// STSResource is the resource of operations of STS that are on nothing but
// an account: GetAccessKeyInfo and DecodeAuthorizationMessage.
func STSResource(account tenant.AccountID) string { return "arn:aws:sts::" + string(account) + ":*" }

// SessionBounds are what a new session is narrowed by, and its tags.
type SessionBounds struct {
	// Policy is an inline session policy; empty for none.
	Policy string
	// PolicyARNs are managed policies of the account, of the operators or
	// built in.
	PolicyARNs []string
	Tags       []call.Tag
}

// checkBounds checks bounds for sessions of an account, and gives how much of
// maxPacked they take, together with the tags that the session inherits.
func (s *Service) checkBounds(op string, account tenant.AccountID, b *SessionBounds, inherited ...call.Tag) (int, error) {
	packed := len(b.Policy)
	if b.Policy != "" {
		if n := utf8.RuneCountInString(b.Policy); n > maxSessionPolicy {
			return 0, breaks(op, b.Policy, "policy", "Member must have length less than or equal to 2048")
		}
		var refused *policy.Error
		if _, _, err := policy.Parse(policy.Session, []byte(b.Policy)); errors.As(err, &refused) {
			return 0, fault.New(op, fault.Invalid, "%s: %s", refused.Path, refused.Message).
				WithCode("MalformedPolicyDocument").WithRemedy("%s", refused.Remedy)
		} else if err != nil {
			return 0, malformedPolicy(op, "%s", err)
		}
	}
	if len(b.PolicyARNs) > maxSessionARNs {
		return 0, breaks(op, "", "policyArns", "Member must have length less than or equal to 10")
	}
	for _, arn := range b.PolicyARNs {
		packed += len(arn)
		of := directory.AccountIn(arn)
		_, builtIn := directory.Builtin(arn)
		if _, found := s.Managed(arn); !found || of != account && of != s.managementAccount() && !builtIn {
			return 0, malformedPolicy(op, "There is no policy %s that the session could have.", printable(arn))
		}
	}
	if err := checkIAMTags(op, b.Tags); err != nil {
		return 0, err
	}
	for _, tags := range [][]call.Tag{b.Tags, inherited} {
		for _, t := range tags {
			packed += len(t.Key) + len(t.Value)
		}
	}
	if packed > maxPacked {
		return 0, fault.New(op, fault.Invalid, "Packed policy and tags take %d%% of the allowed space.", packed*100/maxPacked).
			WithCode("PackedPolicyTooLarge").WithRemedy("Pass fewer tags, or attach the policies instead of passing them.")
	}
	return packed, nil
}

func (b *SessionBounds) policies() []string {
	if b.Policy == "" {
		return nil
	}
	return []string{b.Policy}
}

// checkSeconds checks how long a session is asked for; zero is the default.
func checkSeconds(op string, seconds, most int) error {
	switch {
	case seconds < minDuration:
		return breaks(op, fmt.Sprint(seconds), "durationSeconds", "Member must have value greater than or equal to 900")
	case seconds > most:
		return breaks(op, fmt.Sprint(seconds), "durationSeconds", fmt.Sprintf("Member must have value less than or equal to %d", most))
	}
	return nil
}

// issuing checks grants for all that is asked, in any order, spends one of the
// account's sessions, and journals the decision.
func (s *Service) issuing(ctx context.Context, grants []iam.Grant, asked []iam.Request) (done func(error), err error) {
	const op = "control.issuing"
	for i := range asked {
		found := false
		for _, g := range grants {
			r := g.Request()
			if r.Action != asked[i].Action || r.Resource != asked[i].Resource || !reflect.DeepEqual(r.Keys, asked[i].Keys) ||
				!reflect.DeepEqual(r.Principal, asked[i].Principal) || r.Owner != asked[i].Owner {
				continue
			}
			if _, err := s.check(ctx, g, asked[i].Action, asked[i].Resource); err != nil {
				return nil, err
			}
			found = true
		}
		if !found {
			return nil, s.refused(ctx, asked[i], fault.New(op, fault.Denied, "nothing grants %s on %s for what is asked", asked[i].Action, printable(asked[i].Resource)).
				WithCode("AccessDeniedException"))
		}
	}
	account := asked[0].Principal.Account
	l, found := s.issues.Load(account)
	if !found {
		l, _ = s.issues.LoadOrStore(account, rate.NewLimiter(sessionsPerSecond, 10*sessionsPerSecond))
	}
	if !l.(*rate.Limiter).Allow() {
		e := fault.New(op, fault.Throttled, "Rate exceeded: an account may ask for %d sessions a second.", sessionsPerSecond).
			WithCode("TooManyRequestsException")
		e.Reason, e.RetryAfter = "CallerRateLimitExceeded", time.Second
		return nil, e
	}
	done, err = s.cfg.Journal.Decide(ctx, grants[0], requestID(ctx))
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err, "the decision could not be journaled, so no credentials were made").
			WithCode("ServiceException")
	}
	return done, nil
}

// refused journals a refusal that no policy made, and gives it back. What is
// only malformed is no refusal.
func (s *Service) refused(ctx context.Context, r iam.Request, err error) error {
	if fault.Is(err, fault.Denied) {
		s.cfg.Journal.Refuse(ctx, r, requestID(ctx), err)
	}
	return err
}

// from says what a new session is made with: the key or session that asks,
// and what that was made with.
func from(p *call.Principal) []string {
	var list []string
	issuer := p.ARN
	if p.Session != nil {
		list, issuer = slices.Clone(p.Session.From), p.Session.Issuer
	}
	if p.AccessKeyID != "" {
		list = append(list, origin(p.Account, p.AccessKeyID, issuer))
	}
	return list
}

// within gives when a session ends that is asked for now: never after the one
// that asks for it, so that nobody extends its own life.
func (s *Service) within(p *call.Principal, now time.Time, seconds int) time.Time {
	end := now.Add(time.Duration(seconds) * time.Second)
	if p.Session != nil && p.Session.Expires.Before(end) {
		end = p.Session.Expires
	}
	return end
}

// deal makes the credentials of a session that is complete but for its id.
func (s *Service) deal(p call.Principal, packed int) (SessionCredentials, error) {
	p.Session.ID = token.NewID()
	p.AccessKeyID = p.Session.ID
	c := token.Claims{Principal: p, Secret: token.NewSecret()}
	text, err := s.tokens.Issue(token.Session, &c)
	if err != nil {
		return SessionCredentials{}, err
	}
	return SessionCredentials{
		AccessKeyID: p.AccessKeyID, SecretAccessKey: c.Secret, SessionToken: text, Expires: p.Session.Expires,
		ARN: p.ARN, UserID: p.UserID, PackedPolicySize: (packed*100 + maxPacked - 1) / maxPacked, SourceIdentity: p.Session.SourceIdentity,
	}, nil
}

// second is when a session is made: tokens know no less.
func (s *Service) second() time.Time { return s.tokens.Now().UTC().Truncate(time.Second) }

// GetSessionToken gives a user temporary credentials for itself. It takes a
// grant, unlike AWS's, for the resource that is the user's ARN: so it can be
// denied, and is in the audit log. Seconds is 12 hours if zero.
//
// Errors: fault.Denied for a caller that is no user with a long-lived key;
// ValidationError.
func (s *Service) GetSessionToken(ctx context.Context, g iam.Grant, seconds int) (made SessionCredentials, err error) {
	const op = "control.GetSessionToken"
	r := g.Request()
	p := r.Principal
	if err := g.Check(ActionGetSessionToken, p.ARN); err != nil {
		return made, err
	}
	if err := longLived(op, &r); err != nil {
		return made, s.refused(ctx, r, err)
	}
	if seconds == 0 {
		seconds = userDuration
	}
	if err := checkSeconds(op, seconds, maxUserDuration); err != nil {
		return made, err
	}
	done, err := s.issuing(ctx, []iam.Grant{g}, []iam.Request{r})
	if err != nil {
		return made, err
	}
	defer func() { done(err) }()
	u, err := s.asker(op, &p)
	if err != nil {
		return made, err
	}
	now := s.second()
	return s.deal(call.Principal{
		Type: call.TypeUser, ARN: p.ARN, Account: p.Account, Tenant: p.Tenant, UserID: p.UserID,
		Session: &call.Session{Issuer: u.ARN, IssuerUID: u.UID, Issued: now, Expires: s.within(&p, now, seconds), From: from(&p)},
	}, 0)
}

// longLived refuses who does not have a user's long-lived key, or asks as a
// part of a chain of calls.
func longLived(op string, r *iam.Request) error {
	if p := &r.Principal; p.Type == call.TypeUser && p.Session == nil && p.AccessKeyID != "" && len(r.Chain) == 0 {
		return nil
	}
	return fault.New(op, fault.Denied, "Cannot call %s with session credentials", op[len("control."):]).WithCode("AccessDenied").
		WithRemedy("Use the user's own access key.")
}

// mayMakeLasting refuses sessions that would make a credential that outlives
// them and is not bounded as they are: those of users, those with session
// policies, those with caps. A plain session of a role may do what the role may.
func mayMakeLasting(op string, g iam.Grant) error {
	r := g.Request()
	s := r.Principal.Session
	if s == nil && len(r.Chain) == 0 {
		return nil
	}
	if s != nil && len(r.Chain) == 0 && r.Principal.Type == call.TypeRole && len(s.Policies)+len(s.Managed)+len(s.Caps) == 0 && s.EndTenant == "" {
		return nil
	}
	return fault.New(op, fault.Denied, "A session with bounds of its own cannot make credentials that last.").WithCode("AccessDenied").
		WithRemedy("Use the user's own access key, or a session of a role without session policies.")
}

// asker gives the user whose key asks.
func (s *Service) asker(op string, p *call.Principal) (*directory.User, error) {
	in := s.identitiesOf(p.Account)
	u, found := in.User(p.ARN)
	if !found {
		return nil, fault.New(op, fault.Denied, "The user %s is not there any more.", p.ARN).WithCode("AccessDenied")
	}
	return u.Record, nil
}

// GetFederationTokenInput asks for a session of a user for somebody else.
// Seconds is 12 hours if zero.
type GetFederationTokenInput struct {
	Name    string
	Seconds int
	SessionBounds
}

// FederatedResource is the resource of GetFederationToken.
func FederatedResource(account tenant.AccountID, name string) string {
	return "arn:aws:sts::" + string(account) + ":federated-user/" + name
}

// AskFederationToken gives what has to be granted for GetFederationToken.
func AskFederationToken(p call.Principal, in GetFederationTokenInput) []iam.Request {
	r := iam.Request{
		Principal: p, Action: ActionGetFederationToken, Resource: FederatedResource(p.Account, in.Name),
		Owner: tenant.Identity{Account: p.Account}, Keys: iam.RequestTags(in.Tags),
	}
	if len(in.Tags) == 0 {
		return []iam.Request{r}
	}
	tag := r
	tag.Action = ActionTagSession
	return []iam.Request{r, tag}
}

// GetFederationToken gives a user credentials for somebody else, who may do
// what both the user and the session policies allow; without session policies
// that is nothing. The grants are for what AskFederationToken gives; the first
// one is g.
//
// Errors: fault.Denied for a caller that is no user with a long-lived key;
// ValidationError, MalformedPolicyDocument, PackedPolicyTooLarge.
func (s *Service) GetFederationToken(ctx context.Context, g iam.Grant, also []iam.Grant, in GetFederationTokenInput) (made SessionCredentials, err error) {
	const op = "control.GetFederationToken"
	r := g.Request()
	p := r.Principal
	if err := g.Check(ActionGetFederationToken, FederatedResource(p.Account, in.Name)); err != nil {
		return made, err
	}
	if err := longLived(op, &r); err != nil {
		return made, s.refused(ctx, r, err)
	}
	if in.Seconds == 0 {
		in.Seconds = userDuration
	}
	if err := checkSeconds(op, in.Seconds, maxUserDuration); err != nil {
		return made, err
	}
	if !federatedForm.MatchString(in.Name) {
		return made, breaks(op, in.Name, "name", `Member must satisfy regular expression pattern: [\w+=,.@-]{2,32}`)
	}
	packed, err := s.checkBounds(op, p.Account, &in.SessionBounds)
	if err != nil {
		return made, err
	}
	done, err := s.issuing(ctx, append([]iam.Grant{g}, also...), AskFederationToken(p, in))
	if err != nil {
		return made, err
	}
	defer func() { done(err) }()
	u, err := s.asker(op, &p)
	if err != nil {
		return made, err
	}
	now := s.second()
	return s.deal(call.Principal{
		Type: call.TypeFederated, ARN: FederatedResource(p.Account, in.Name), Account: p.Account, Tenant: p.Tenant,
		UserID: string(p.Account) + ":" + in.Name,
		Session: &call.Session{
			Issuer: u.ARN, IssuerUID: u.UID, Name: in.Name, Tags: slices.Clone(in.Tags), Policies: in.policies(), Managed: slices.Clone(in.PolicyARNs),
			Issued: now, Expires: s.within(&p, now, in.Seconds), From: from(&p),
		},
	}, packed)
}

// GetAccessKeyInfo gives the account of a long-lived access key. Unlike AWS's
// it knows the caller's own account only: whether a key is another's is
// nobody's to find out. Ids of temporary credentials name no account.
//
// Errors: ValidationError for a key that is not there.
func (s *Service) GetAccessKeyInfo(ctx context.Context, g iam.Grant, accessKeyID string) (tenant.AccountID, error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionGetAccessKeyInfo, STSResource(account)); err != nil {
		return "", err
	}
	if k, found := s.ix.keys.get(accessKeyID); !found || k.Record.Account != account {
		return "", fault.New("control.GetAccessKeyInfo", fault.Invalid, "Access key %s is not valid.", printable(accessKeyID)).WithCode("ValidationError")
	}
	return account, nil
}

// DecodeAuthorizationMessage decodes what a refusal of this account carried.
//
// Errors: InvalidAuthorizationMessageException, also for another account's.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, g iam.Grant, encoded string) (string, error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionDecodeMessage, STSResource(account)); err != nil {
		return "", err
	}
	of, message, err := s.tokens.OpenMessage(encoded)
	if err != nil || of != account {
		return "", fault.New("control.DecodeAuthorizationMessage", fault.Invalid, "The message is not an encoded authorization message of this account, or is too old.").
			WithCode("InvalidAuthorizationMessageException")
	}
	return message, nil
}
