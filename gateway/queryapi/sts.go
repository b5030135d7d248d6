package queryapi

import (
	"strings"
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
	}
	for i := range list {
		list[i].showsValues = true
	}
	return list
}

// missingSTS are the operations of STS that are not built.
const missingSTS = `
AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot DecodeAuthorizationMessage GetAccessKeyInfo
GetDelegatedAccessToken GetFederationToken GetSessionToken GetWebIdentityToken`

type noInput struct{}

type callerIdentity struct{ UserId, Account, Arn string }

// getCallerIdentity needs no permission, as on AWS: the answer is what the
// caller has proved.
func getCallerIdentity(rq *request, _ *noInput) (any, error) {
	p := rq.principal
	return callerIdentity{p.UserID, string(p.Account), p.ARN}, nil
}
