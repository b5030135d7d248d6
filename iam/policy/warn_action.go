package policy

import "strings"

// tagging are actions that set or remove tags.
var tagging = []string{
	"iam:tagrole", "iam:taguser", "iam:untagrole", "iam:untaguser", "lambda:tagresource", "lambda:untagresource",
	"s3:putbuckettagging", "s3:putobjecttagging", "s3:deleteobjecttagging", "sqs:tagqueue", "sqs:untagqueue",
	"dynamodb:tagresource", "dynamodb:untagresource", "kms:tagresource", "kms:untagresource", "sts:tagsession",
}

// policyWrites are actions by which one can allow oneself, or a role that one
// can assume, more.
var policyWrites = []string{
	"iam:attachgrouppolicy", "iam:attachrolepolicy", "iam:attachuserpolicy", "iam:createaccesskey", "iam:createpolicyversion",
	"iam:deleterolepermissionsboundary", "iam:deleteuserpermissionsboundary", "iam:putgrouppolicy", "iam:putrolepermissionsboundary",
	"iam:putrolepolicy", "iam:putuserpermissionsboundary", "iam:putuserpolicy", "iam:setdefaultpolicyversion",
	"iam:updateassumerolepolicy", "lambda:addpermission", "s3:putbucketpolicy",
}

// actions looks at what an Allow lets do. Who is allowed everything is meant to.
func (w *warner) actions() {
	if w.s.Effect == Deny || w.s.NotAction {
		return
	}
	for i, action := range w.s.Actions {
		if len(action) == 1 && action[0].Kind == Run || action.String() == "*:*" {
			continue
		}
		g, path := newGlob(action, true), w.at.actions[i]
		if name := g.first(tagging); name != "" && !w.narrowed([]string{"aws:tagkeys", "aws:requesttag/"}) && !w.tagKeysBound() {
			w.add(WarnTagging, path, "Add a condition on aws:RequestTag/… or ForAllValues on aws:TagKeys.",
				"%s can set any tag, and tags decide what else is allowed.", name)
		}
		if name := g.first(policyWrites); name != "" && w.open() && !w.narrowed([]string{"iam:permissionsboundary"}) {
			w.add(WarnPolicyWrite, path, "Name the resources, or add a condition on iam:PermissionsBoundary.",
				"with %s one can allow oneself, or others, more.", name)
		}
		if g.match("iam:passrole", nil) && w.open() {
			w.add(WarnPassRole, path, "Name the roles, and add a condition on iam:PassedToService.",
				"every role can be passed, with rights that the principal does not have itself.")
		}
		w.listing(action, path)
	}
}

// first gives the first of several actions that match.
func (g *glob) first(actions []string) string {
	for _, name := range actions {
		if g.match(name, nil) {
			return name
		}
	}
	return ""
}

// tagKeysBound tells whether the statement bounds the keys of the tags.
func (w *warner) tagKeysBound() bool {
	for i := range w.s.Conditions {
		if c := &w.s.Conditions[i]; c.Key == "aws:tagkeys" && c.Quantifier == ForAllValues {
			return true
		}
	}
	return false
}

// open tells whether a resource of the statement stands for any of its sort.
func (w *warner) open() bool {
	for i := range w.s.Resources {
		if r := &w.s.Resources[i]; r.All || r.Parts[5].everything() {
			return true
		}
	}
	return w.s.NotResource
}

// everything tells whether the pattern matches every name, or every name of a
// kind, as in role/*.
func (p Pattern) everything() bool {
	if len(p) == 0 || p[len(p)-1].Kind != Run {
		return false
	}
	return len(p) == 1 || len(p) == 2 && p[0].Kind == Literal && strings.IndexAny(p[0].Text, delimiters) == len(p[0].Text)-1
}

// listing looks for actions that show the names of what belongs to others.
func (w *warner) listing(action Pattern, path string) {
	if len(w.s.Conditions) > 0 || !w.open() && !w.wholeBucket(action) {
		return
	}
	_, name, _ := strings.Cut(action.String(), ":")
	if strings.HasPrefix(name, "list") || strings.HasPrefix(name, "describe") {
		w.add(WarnNames, path, "Add a condition, as on s3:prefix with the tenant's variable, or narrow the resource.",
			"%s shows the names of what belongs to others.", action)
	}
}

// wholeBucket tells whether the action lists a bucket of which the policy
// gives only a part to a tenant.
func (w *warner) wholeBucket(action Pattern) bool {
	g := newGlob(action, true)
	if !g.match("s3:listbucket", nil) {
		return false
	}
	for i := range w.s.Resources {
		bucket := w.s.Resources[i].Parts[5]
		name, plain := bucket.literal()
		for j := range w.doc.Statements {
			for _, r := range w.doc.Statements[j].Resources {
				if p := r.Parts[5]; plain && name != "" && p.has(Variable) && p[0].Kind == Literal && strings.HasPrefix(p[0].Text, name+"/") {
					return true
				}
			}
		}
	}
	return false
}
