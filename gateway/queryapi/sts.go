package queryapi

import (
	"strings"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/gateway/caller"
	"github.com/carrel-dev/carrel/iam"
)

// stsAPI is STS: its operations, served or not.
func stsAPI() *api {
	return newAPI(api{service: ServiceSTS, version: "2011-06-15", namespace: "https://sts.amazonaws.com/doc/2011-06-15/"},
		stsOperations(), strings.Fields(missingSTS))
}

// stsOperations are the operations of STS that are served.
func stsOperations() []operation {
	list := []operation{
		open("GetCallerIdentity", getCallerIdentity),
		open("AssumeRole", assumeRole),
		anyone("AssumeRoleWithWebIdentity", assumeRoleWeb),
		open("GetFederationToken", getFederationToken),
		served("GetSessionToken", onCaller, getSessionToken),
		served("GetAccessKeyInfo", onSTS, func(rq *request, g iam.Grant, in *keyInfoInput) (any, error) {
			account, err := rq.h.Control.GetAccessKeyInfo(rq.ctx, g, in.AccessKeyId)
			return struct{ Account string }{string(account)}, err
		}),
		served("DecodeAuthorizationMessage", onSTS, func(rq *request, g iam.Grant, in *decodeInput) (any, error) {
			message, err := rq.h.Control.DecodeAuthorizationMessage(rq.ctx, g, in.EncodedMessage)
			return struct{ DecodedMessage string }{message}, err
		}),
	}
	for i := range list {
		list[i].showsValues = !list[i].unsigned // one of its parameters is a secret
	}
	return list
}

// missingSTS are the operations of STS that are not built.
const missingSTS = `
AssumeRoleWithSAML AssumeRoot GetDelegatedAccessToken GetWebIdentityToken`

// Inputs of STS.
type (
	noInput          struct{}
	policyDescriptor struct {
		Arn string `q:"required" name:"arn" len:"20-2048"`
	}
	boundsInput struct {
		Policy     string             `len:"1-131072" form:"document"`
		PolicyArns []policyDescriptor `len:"0-10"`
	}
	assumeRoleInput struct {
		RoleArn         string `q:"required" len:"20-2048"`
		RoleSessionName string `q:"required" len:"2-64" form:"sessionName"`
		boundsInput
		DurationSeconds   int      `range:"900-43200"`
		Tags              tagList  `len:"0-50"`
		TransitiveTagKeys []string `len:"0-50" elem:"1-128" form:"tagKey"`
		ExternalId        string   `len:"2-1224" form:"externalId"`
		SourceIdentity    string   `len:"2-64" form:"sessionName"`
	}
	assumeWebInput struct {
		RoleArn          string `q:"required" len:"20-2048"`
		RoleSessionName  string `q:"required" len:"2-64" form:"sessionName"`
		WebIdentityToken string `q:"required" len:"4-20000"`
		ProviderId       string `len:"4-2048"`
		boundsInput
		DurationSeconds int `range:"900-43200"`
	}
	sessionTokenInput struct {
		DurationSeconds int `range:"900-129600"`
	}
	federationInput struct {
		Name string `q:"required" len:"2-32" form:"sessionName"`
		boundsInput
		DurationSeconds int     `range:"900-129600"`
		Tags            tagList `len:"0-50"`
	}
	keyInfoInput struct {
		AccessKeyId string `q:"required" len:"16-128" form:"word"`
	}
	decodeInput struct {
		EncodedMessage string `q:"required" len:"1-10240"`
	}
)

func (in *assumeRoleInput) check() error { return in.Tags.check() }
func (in *federationInput) check() error { return in.Tags.check() }

func (in *boundsInput) bounds(tags tagList) control.SessionBounds {
	b := control.SessionBounds{Policy: in.Policy, Tags: tags.tags()}
	for _, p := range in.PolicyArns {
		b.PolicyARNs = append(b.PolicyARNs, p.Arn)
	}
	return b
}

// The parts of what STS answers.
type (
	callerIdentity   struct{ UserId, Account, Arn string }
	credentialsShape struct {
		AccessKeyId, SecretAccessKey, SessionToken string
		Expiration                                 time.Time
	}
	assumedUser    struct{ AssumedRoleId, Arn string }
	federatedUser  struct{ FederatedUserId, Arn string }
	assumeRoleView struct {
		Credentials      credentialsShape
		AssumedRoleUser  assumedUser
		PackedPolicySize *int
		SourceIdentity   string
	}
)

func credentialsOf(c control.SessionCredentials) credentialsShape {
	return credentialsShape{c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expires}
}

// packedSize is nil where the session has nothing of what it measures.
func packedSize(c control.SessionCredentials) *int {
	if c.PackedPolicySize == 0 {
		return nil
	}
	return &c.PackedPolicySize
}

// onCaller is the caller itself.
func onCaller[I any](rq *request, _ *I) (target, error) {
	return target{resource: rq.principal.ARN}, nil
}

// onSTS is the caller's account.
func onSTS[I any](rq *request, _ *I) (target, error) {
	return target{resource: control.STSResource(rq.principal.Account)}, nil
}

// getCallerIdentity needs no permission, as on AWS: the answer is what the
// caller has proved.
func getCallerIdentity(rq *request, _ *noInput) (any, error) {
	p := rq.principal
	return callerIdentity{p.UserID, string(p.Account), p.ARN}, nil
}

func assumeRole(rq *request, in *assumeRoleInput) (any, error) {
	ask := control.AssumeRoleInput{
		RoleARN: in.RoleArn, SessionName: in.RoleSessionName, Seconds: in.DurationSeconds, ExternalID: in.ExternalId,
		SourceIdentity: in.SourceIdentity, Transitive: in.TransitiveTagKeys, SessionBounds: in.bounds(in.Tags),
	}
	asked, err := rq.h.Control.AskAssumeRole(rq.ctx, rq.principal, ask)
	if err != nil {
		return nil, err
	}
	grants, err := rq.decideAll(asked)
	if err != nil {
		return nil, err
	}
	c, err := rq.h.Control.AssumeRole(rq.ctx, grants[0], grants[1:], ask)
	return assumeRoleView{credentialsOf(c), assumedUser{c.UserID, c.ARN}, packedSize(c), c.SourceIdentity}, err
}

// assumeRoleWeb takes a token in place of a signature. A request that is signed
// all the same is judged by its token.
func assumeRoleWeb(rq *request, in *assumeWebInput) (any, error) {
	if in.ProviderId != "" {
		// It names providers of OAuth 2.0 that AWS knows by itself.
		return nil, fault.New("queryapi", fault.Invalid, "ProviderId is for OAuth 2.0 access tokens, which are not taken.").WithCode("InvalidIdentityToken").
			WithRemedy("Leave it out and send an OpenID Connect ID token.")
	}
	who, err := rq.h.Control.AskAssumeRoleWithWebIdentity(rq.ctx, caller.Origin(rq.r), control.AssumeWebInput{
		RoleARN: in.RoleArn, SessionName: in.RoleSessionName, Seconds: in.DurationSeconds, Token: in.WebIdentityToken, SessionBounds: in.bounds(nil),
	})
	if err != nil {
		return nil, err
	}
	grants, err := rq.decideAll(who.Asked())
	if fault.Is(err, fault.Denied) {
		// Why, and whether there is a role, is the account's to know.
		return nil, fault.New("queryapi", fault.Denied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	if err != nil {
		return nil, err
	}
	c, err := rq.h.Control.AssumeRoleWithWebIdentity(rq.ctx, grants[0], grants[1:], who)
	return struct {
		Credentials                 credentialsShape
		SubjectFromWebIdentityToken string
		AssumedRoleUser             assumedUser
		PackedPolicySize            *int
		Provider, Audience          string
	}{credentialsOf(c.SessionCredentials), c.Subject, assumedUser{c.UserID, c.ARN}, packedSize(c.SessionCredentials), c.Provider, c.Audience}, err
}

func getFederationToken(rq *request, in *federationInput) (any, error) {
	ask := control.GetFederationTokenInput{Name: in.Name, Seconds: in.DurationSeconds, SessionBounds: in.bounds(in.Tags)}
	grants, err := rq.decideAll(control.AskFederationToken(rq.principal, ask))
	if err != nil {
		return nil, err
	}
	c, err := rq.h.Control.GetFederationToken(rq.ctx, grants[0], grants[1:], ask)
	return struct {
		Credentials      credentialsShape
		FederatedUser    federatedUser
		PackedPolicySize *int
	}{credentialsOf(c), federatedUser{c.UserID, c.ARN}, packedSize(c)}, err
}

func getSessionToken(rq *request, g iam.Grant, in *sessionTokenInput) (any, error) {
	c, err := rq.h.Control.GetSessionToken(rq.ctx, g, in.DurationSeconds)
	return struct{ Credentials credentialsShape }{credentialsOf(c)}, err
}
