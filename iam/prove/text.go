package prove

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// The codes of findings. They are stable.
const (
	codePrefix       = "PREFIX_WITHOUT_DELIMITER"
	codeSuffix       = "SUFFIX_WITHOUT_DELIMITER"
	codeWrongSlot    = "WRONG_SLOT"
	codeLiteral      = "LITERAL_TENANT"
	codeNoTenant     = "NO_TENANT"
	codeOldVersion   = "VARIABLE_IN_OLD_VERSION"
	codeFreeVariable = "FREE_VARIABLE"
	codeNotResource  = "ALLOW_NOT_RESOURCE"
	codeReach        = "REACHES_OTHER_TENANT"
	codeListing      = "LISTS_OTHER_TENANTS"
	codeControl      = "CONTROLS_SHARED_BUCKET"
	codeUndecided    = "UNDECIDED"
	codeVacuous      = "VACUOUS"
)

const anyTenant = "<any>"

// pitfall says what is wrong with a pattern, in words that follow "because
// statement 1 of policy p", and what to do.
type pitfall struct{ code, because, remedy string }

// diagnose names the pitfall that a pattern fell into. The pattern is nil for
// NotResource.
func (d *ids) diagnose(s *statement, a *policy.ARNPattern, owner string) pitfall {
	if a == nil {
		return pitfall{codeNotResource, "allows all resources but a few", "name what is allowed with Resource"}
	}
	if a.All {
		return pitfall{codeNoTenant, "allows every resource", "name the resources, with ${tenant_id} in them"}
	}
	p := a.Parts[5]
	at := slices.IndexFunc(p, d.isTenant)
	if at < 0 {
		return d.unnamed(s, p, owner)
	}
	name := variableName(p[at].Text)
	switch {
	case at+1 < len(p) && p[at+1].Kind == policy.Run:
		place := "holds"
		if at+2 == len(p) {
			place = "ends in"
		}
		return pitfall{codePrefix, place + " " + name + "*", "put a / before the star"}
	case at > 0 && p[at-1].Kind == policy.Run:
		return pitfall{codeSuffix, "has a star right before " + name, "put a / between them, with nothing but fixed text before it"}
	case slices.ContainsFunc(p[:at], func(t policy.Token) bool { return t.Kind == policy.Run }):
		return pitfall{codeWrongSlot, "has a star before " + name + ", which can stand for another tenant's name", "put " + name + " where the owner stands, with fixed text before it"}
	}
	return pitfall{codeReach, "allows " + written(p), "put " + name + " where the owner stands, with / on both sides"}
}

func (d *ids) unnamed(s *statement, p policy.Pattern, owner string) pitfall {
	for _, t := range p {
		switch {
		case t.Kind == policy.Literal && strings.Contains(t.Text, "${"):
			return pitfall{codeOldVersion, "is of a document without Version 2012-10-17, in which ${…} is text", `write "Version": "2012-10-17"`}
		case t.Kind == policy.Variable:
			return pitfall{codeFreeVariable, "holds " + variableName(t.Text) + ", which can have any value", "use ${tenant_id}, or fix the key with a condition"}
		}
	}
	if owner != "" && slices.ContainsFunc(p, func(t policy.Token) bool { return t.Kind == policy.Literal && strings.Contains(t.Text, owner) }) {
		return pitfall{codeLiteral, "names " + owner + " and is for every tenant", "write ${tenant_id} in place of " + owner}
	}
	return pitfall{codeNoTenant, "allows " + written(p) + ", in which no tenant is named", "put ${tenant_id}/ where the owner stands"}
}

// written gives a pattern as people write it.
func written(p policy.Pattern) string {
	return strings.ReplaceAll(p.String(), "${carrel:tenantid}", "${tenant_id}")
}

// variableName gives a key as people write it in policies.
func variableName(key string) string {
	for _, known := range []string{"carrel:AccountTenant", "carrel:EndTenant", "aws:PrincipalTag/", "aws:username", "aws:userid", "aws:RequestTag/"} {
		if rest, found := strings.CutPrefix(key, strings.ToLower(known)); found {
			return "${" + known + rest + "}"
		}
	}
	if key == "carrel:tenantid" {
		return "${tenant_id}"
	}
	return "${" + key + "}"
}

// verb says what an action does in one word, or names it.
func verb(action string) string {
	_, name, _ := strings.Cut(action, ":")
	for _, v := range [][2]string{{"Get", "read"}, {"List", "list"}, {"Put", "write"}, {"Delete", "delete"}, {"Invoke", "invoke"}} {
		if strings.HasPrefix(name, v[0]) {
			return v[1]
		}
	}
	return "do " + action + " on"
}

// shown gives a resource with the tenant's id replaced where it is a part of
// the owner's.
func shown(w *confirmed) string {
	r := w.request.Resource
	if w.owner == "" || !strings.Contains(w.owner, w.tenant) {
		return r
	}
	return strings.Replace(r, w.owner, strings.Replace(w.owner, w.tenant, "<tenant>", 1), 1)
}

// basis identifies what is judged.
func (j *judgement) basis() string {
	parts := []string{digests(j.identity), digests(j.own), tagsDigest(j.fixed)}
	for _, bound := range append(j.bounds[:len(j.bounds):len(j.bounds)], j.ownBounds...) {
		parts = append(parts, digests(bound))
	}
	for _, l := range append(j.layouts[:len(j.layouts):len(j.layouts)], j.home...) {
		parts = append(parts, l.Pattern, l.Account)
	}
	return digest(parts...)
}

// finding puts a verdict into words.
func (j *judgement) finding(v verdict) Finding {
	if v.result == Unknown {
		return Finding{
			Result: Unknown, Code: codeUndecided, Tenant: anyTenant, Statement: -1, basis: j.basis(),
			Message: fmt.Sprintf("it was not decided %s", v.why),
			Remedy:  "Write the policy with ${tenant_id} between slashes and fewer conditions, or have an operator accept it with a reason.",
		}
	}
	w := v.witness
	d := j.first().ids
	s, pattern := j.culprit(w)
	why := pitfall{codeReach, "allows it", "narrow it to the tenant's own resources"}
	f := Finding{Result: Violated, Tenant: anyTenant, Statement: -1, grounds: j.grounds()}
	if s != nil {
		why = d.diagnose(s, pattern, w.owner)
		f.Policy, f.Statement, f.SID = s.policy.Name, s.index, s.SID
	}
	what := verb(w.request.Action) + " " + shown(w)
	switch v.place.kind {
	case listingPlace:
		why.code, why.remedy = codeListing, "allow it on condition that s3:prefix is like ${tenant_id}/*"
		if why.because = "does not bind s3:prefix to the tenant"; len(s.Conditions) > 0 {
			why.because = "allows prefixes that other tenants' names begin with"
		}
		what = "list the names of other tenants' objects in " + w.request.Resource
		if a, set := w.context["s3:prefix"]; set {
			what += " with the prefix " + fmt.Sprintf("%q", strings.Join(a, ","))
		}
	case controlPlace:
		why.code, why.remedy = codeControl, "allow it to the bucket's owner only"
		why.because = "allows " + w.request.Action
		what = "change the bucket " + w.request.Resource + ", which holds other tenants' objects"
	}
	f.Code = why.code
	f.Message = fmt.Sprintf("tenant %s can %s because %s; %s", anyTenant, what, statementName(s, why.because), why.remedy)
	if example := w.request.Resource; shown(w) != example {
		f.Message += fmt.Sprintf(" (tenant %s: %s)", w.tenant, example)
	} else {
		f.Message += fmt.Sprintf(" (for example tenant %s)", w.tenant)
	}
	f.Remedy = strings.ToUpper(why.remedy[:1]) + why.remedy[1:] + "."
	f.Witness = &Witness{
		Tenant: w.tenant, Owner: w.owner, Principal: w.request.Principal.Issuer, Action: w.request.Action, Resource: w.request.Resource, Context: plain(w.context),
	}
	return f
}

// statementName names a statement as people count, from 1.
func statementName(s *statement, because string) string {
	if s == nil {
		return "the policies allow it"
	}
	return fmt.Sprintf("statement %d of policy %s %s", s.index+1, s.policy.Name, because)
}

// plain gives a context without the marks of sets.
func plain(context map[string][]string) map[string][]string {
	out := map[string][]string{}
	for key, values := range context {
		out[strings.TrimPrefix(key, manyPrefix)] = values
	}
	return out
}

// name gives findings their ids, the same for the same fault.
func (f *Finding) name() {
	parts := []string{string(f.Result), f.Code, f.Tenant, f.Policy, fmt.Sprint(f.Statement), f.Message}
	if f.Result == Unknown {
		parts = append(parts, f.basis)
	}
	f.ID = digest(parts...)[:16]
}
