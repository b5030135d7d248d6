package prove

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// catalogue lists actions by service, those first that make the clearest
// examples. It only gives witnesses names that people know: what is judged are
// all actions that patterns tell apart, known or not.
var catalogue = map[string][]string{
	"s3": {
		"GetObject", "PutObject", "DeleteObject", "GetObjectVersion", "DeleteObjectVersion", "GetObjectTagging", "PutObjectTagging",
		"DeleteObjectTagging", "GetObjectAcl", "PutObjectAcl", "AbortMultipartUpload", "ListMultipartUploadParts", "RestoreObject",
		"GetObjectAttributes", "GetObjectRetention", "PutObjectRetention", "GetObjectLegalHold", "PutObjectLegalHold", "BypassGovernanceRetention",
	},
	"lambda": {
		"InvokeFunction", "GetFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "CreateFunction", "DeleteFunction", "ListFunctions",
		"GetFunctionConfiguration", "AddPermission", "RemovePermission", "GetPolicy", "PublishVersion", "CreateAlias", "UpdateAlias", "InvokeFunctionUrl",
	},
	"sts": {
		"AssumeRole", "TagSession", "AssumeRoleWithWebIdentity", "SetSourceIdentity", "GetSessionToken", "GetFederationToken", "GetCallerIdentity",
	},
	"iam": {
		"PassRole", "CreateRole", "PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy", "CreateUser", "PutUserPolicy", "AttachUserPolicy",
		"CreateAccessKey", "CreatePolicyVersion", "SetDefaultPolicyVersion", "AddUserToGroup", "PutGroupPolicy", "AttachGroupPolicy",
		"DeleteRolePermissionsBoundary", "DeleteUserPermissionsBoundary", "DetachRolePolicy", "DeleteRolePolicy", "TagRole", "UntagRole", "TagUser",
		"GetRole", "GetUser", "ListRoles", "ListUsers", "CreatePolicy", "DeletePolicy", "DeleteRole", "DeleteUser",
		"PutRolePermissionsBoundary", "PutUserPermissionsBoundary", "CreateOpenIDConnectProvider",
	},
	"dynamodb":       {"GetItem", "PutItem", "Query", "Scan", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem"},
	"sqs":            {"ReceiveMessage", "SendMessage", "DeleteMessage", "GetQueueUrl", "PurgeQueue"},
	"secretsmanager": {"GetSecretValue", "PutSecretValue", "DescribeSecret", "DeleteSecret"},
	"carrel":         {"CreateTenant", "GetTenant", "ListTenants", "UpdateTenant", "DeleteTenant"},
	"logs":           {"GetLogEvents", "FilterLogEvents", "PutLogEvents"},
}

// bucketActions are those of S3 whose resource is a bucket and not an object.
// The first three list keys, and those in bucketWrites change what holds for
// all that the bucket contains.
var (
	bucketLists  = []string{"ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"}
	bucketWrites = []string{
		"PutBucketPolicy", "DeleteBucketPolicy", "DeleteBucket", "PutBucketAcl", "PutLifecycleConfiguration", "PutReplicationConfiguration",
		"PutBucketNotification", "PutBucketVersioning", "PutEncryptionConfiguration", "PutBucketTagging", "PutBucketCORS", "PutBucketWebsite",
		"PutBucketLogging", "PutBucketOwnershipControls", "PutBucketPublicAccessBlock",
	}
	bucketReads   = []string{"GetBucketLocation", "GetBucketPolicy", "GetBucketAcl", "GetBucketTagging", "GetBucketVersioning"}
	bucketActions = slices.Concat(bucketLists, bucketReads, bucketWrites)
)

// actionClass is actions that the same statements match.
type actionClass struct {
	// name is one of them, of the catalogue if any is.
	name string
	// known says that it is of the catalogue.
	known   bool
	matches []bool // by the number of the action pattern
}

// actions tells the actions apart that patterns tell apart.
type actions struct {
	automaton
	index map[string]int // of patterns, by their keys
	// made are the classes of services that were asked for.
	made map[string]classesOf
	ends map[int32]int // the pattern that ends at a node
}

// classesOf is what classes gave for a service.
type classesOf struct {
	all []actionClass
	ok  bool
}

// actionBudget bounds the states explored to tell actions apart.
const actionBudget = 4000

func actionsOf(lists ...[]*statement) *actions {
	a := &actions{index: map[string]int{}, ends: map[int32]int{}, made: map[string]classesOf{}}
	for _, list := range lists {
		for _, s := range list {
			s.actions = s.actions[:0]
			for _, p := range s.Actions {
				key := patternKey(p)
				number, known := a.index[key]
				if !known {
					number = len(a.index)
				}
				s.actions = append(s.actions, number)
				if known {
					continue
				}
				a.index[key] = number
				w, _ := (&world{}).expand(p, anyByte, asNot, false)
				a.add(w, notLayer)
				a.ends[int32(len(a.nodes)-1)] = a.index[key]
			}
		}
	}
	return a
}

// match tells whether a statement is about the actions of a class.
func (a *actions) match(s *statement, c *actionClass) bool {
	return slices.ContainsFunc(s.actions, func(p int) bool { return c.matches[p] }) != s.NotAction
}

// filter gives the statements about the actions of a class.
func (a *actions) filter(all []*statement, c *actionClass) []*statement {
	var out []*statement
	for _, s := range all {
		if a.match(s, c) {
			out = append(out, s)
		}
	}
	return out
}

// services lists the services that patterns name, and one that none does.
func (a *actions) services(lists ...[]*statement) []string {
	out := []string{""}
	for _, list := range lists {
		for _, s := range list {
			for _, p := range s.Actions {
				if len(p) == 0 || p[0].Kind != policy.Literal {
					continue
				}
				if service, _, named := strings.Cut(p[0].Text, ":"); named && !slices.Contains(out, service) {
					out = append(out, service)
				}
			}
		}
	}
	out[0] = "other"
	for slices.Contains(out[1:], out[0]) {
		out[0] += "s"
	}
	return out
}

// stepAll follows one byte, in lower case, from a set of nodes.
func (a *actions) stepAll(from []int32, b byte) []int32 {
	var to []int32
	enter := func(n int32) {
		for ; n >= 0; n = a.nodes[n].skip {
			to = append(to, n)
		}
	}
	for _, i := range from {
		n := &a.nodes[i]
		if n.on == nil || !n.on.has(b) {
			continue
		}
		if n.loop {
			enter(i)
		} else {
			enter(n.to)
		}
	}
	slices.Sort(to)
	return slices.Compact(to)
}

func (a *actions) read(text string) []int32 {
	var at []int32
	for _, n := range a.starts {
		for ; n >= 0; n = a.nodes[n].skip {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	for i := range len(text) {
		at = a.stepAll(at, text[i])
	}
	return at
}

func (a *actions) class(name string, known bool, at []int32) (actionClass, string) {
	c := actionClass{name: name, known: known, matches: make([]bool, len(a.index))}
	key := make([]byte, len(a.index))
	for _, n := range at {
		if p, end := a.ends[n]; end {
			c.matches[p] = true
			key[p] = 1
		}
	}
	return c, string(key)
}

// named gives the class of one action.
func (a *actions) named(action string) (actionClass, string) {
	return a.class(action, true, a.read(strings.ToLower(action)))
}

// classes gives a class of each kind of actions of a service; false if there
// are too many.
func (a *actions) classes(service string) ([]actionClass, bool) {
	made, known := a.made[service]
	if !known {
		made.all, made.ok = a.divide(service)
		a.made[service] = made
	}
	return slices.Clone(made.all), made.ok
}

func (a *actions) divide(service string) ([]actionClass, bool) {
	var out []actionClass
	have := map[string]bool{}
	keep := func(c actionClass, key string) {
		if !have[key] {
			have[key] = true
			out = append(out, c)
		}
	}
	names := catalogue[service]
	if service == "s3" {
		names = append(names[:len(names):len(names)], bucketActions...)
	}
	for _, name := range names {
		keep(a.named(service + ":" + name))
	}
	type visit struct {
		name string
		at   []int32
	}
	letters := a.letters()
	queue := []visit{{service + ":", a.read(service + ":")}}
	seen := map[string]bool{}
	for i := 0; i < len(queue); i++ {
		if len(queue) > actionBudget {
			return nil, false
		}
		v := queue[i]
		if i > 0 {
			keep(a.class(v.name, false, v.at))
		}
		for _, b := range letters {
			at := a.stepAll(v.at, b)
			key := make([]byte, 0, 4*len(at))
			for _, n := range at {
				key = binary.LittleEndian.AppendUint32(key, uint32(n))
			}
			if !seen[string(key)] {
				seen[string(key)] = true
				queue = append(queue, visit{v.name + string(b), at})
			}
		}
	}
	return out, true
}

// letters gives the bytes of actions that patterns name, and one that none
// does.
func (a *actions) letters() []byte {
	const all = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	var named set
	for i := range a.nodes {
		if n := &a.nodes[i]; n.on != nil {
			if b, one := n.on.only(); one {
				named.add(b)
			}
		}
	}
	var out []byte
	other := false
	for i := range len(all) {
		if named.has(all[i]) {
			out = append(out, all[i])
		} else if !other {
			other = true
			out = append(out, all[i])
		}
	}
	return out
}
