package awsapi

import (
	"net/http"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
)

type addedPermission struct {
	Statement string `json:"Statement"`
}

type functionPolicy struct {
	Policy     string `json:"Policy"`
	RevisionID string `json:"RevisionId"`
}

// permissionKeys are the condition keys of AddPermission, which say whom and
// how it lets in; none if the body is malformed, which the operation itself
// says after it was authorised.
func permissionKeys(rq *request) []iam.Key {
	o, err := parseBody(rq.body)
	if err != nil {
		return nil
	}
	principal, auth := o.text("Principal"), o.text("FunctionUrlAuthType")
	if *o.err != nil {
		return nil
	}
	var keys []iam.Key
	if principal != nil {
		keys = append(keys, iam.Key{Name: "lambda:principal", Values: []string{*principal}})
	}
	if auth != nil {
		keys = append(keys, iam.Key{Name: "lambda:functionurlauthtype", Values: []string{*auth}})
	}
	return keys
}

func addPermission(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	var v violations
	in := control.PermissionInput{
		Name: rq.name, Qualifier: rq.qualifier,
		StatementID: v.required(o.text("StatementId"), "statementId"),
		Action:      v.required(o.text("Action"), "action"),
		Principal:   v.required(o.text("Principal"), "principal"),
		SourceARN:   value(o.text("SourceArn")), SourceAccount: value(o.text("SourceAccount")),
		OrgID: value(o.text("PrincipalOrgID")), URLAuthType: value(o.text("FunctionUrlAuthType")), ViaURL: o.flag("InvokedViaFunctionUrl"),
		EventSourceToken: value(o.text("EventSourceToken")), RevisionID: value(o.text("RevisionId")),
	}
	if *o.err != nil {
		return reply{}, *o.err
	}
	if err := v.err(); err != nil {
		return reply{}, err
	}
	statement, err := rq.h.Control.AddPermission(rq.r.Context(), rq.grant, in)
	return reply{http.StatusCreated, addedPermission{statement}}, err
}

func getPolicy(rq *request) (reply, error) {
	p, err := rq.h.Control.GetFunctionPolicy(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
	return reply{http.StatusOK, functionPolicy{p.Text, p.RevisionID}}, err
}

func removePermission(rq *request) (reply, error) {
	revision, err := rq.query("RevisionId")
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, rq.h.Control.RemovePermission(rq.r.Context(), rq.grant, control.RemovePermissionInput{
		Name: rq.name, Qualifier: rq.qualifier, StatementID: rq.params[1], RevisionID: revision,
	})
}
