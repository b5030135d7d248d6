// Package iamtest helps tests of what stands behind decisions: it makes
// authorities for which every user may do everything on the resources of its
// own account and nothing elsewhere.
package iamtest

import (
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/tenant"
)

// Authority makes an authority over a snapshot in which everyone is the
// administrator of its own account.
func Authority(s iam.Snapshot) *iam.Authority { return With(s, NewDirectory()) }

// With makes an authority over a snapshot and a directory.
func With(s iam.Snapshot, d *Directory) *iam.Authority {
	return iam.New(iam.Config{Snapshot: s, Directory: d, Region: "us-east-1", Now: time.Now})
}

// Directory is an iam.Directory that a test changes.
type Directory struct {
	// Everyone is what every principal has attached, but those in Subjects.
	Everyone *iam.Subject
	// Subjects are by ARN; nil for one that is gone.
	Subjects map[string]*iam.Subject
	// Objects are by the ARN of the resource.
	Objects map[string]iam.Object
	// Gone tells who is not valid any more; nobody if nil.
	Gone func(*call.Principal) bool
	// Policies are managed policies by ARN.
	Policies map[string]*policy.Document
}

// NewDirectory makes a Directory in which everyone is administrator.
func NewDirectory() *Directory {
	return &Directory{
		Everyone: &iam.Subject{Identity: Set(policy.Identity, AllowAll)},
		Subjects: map[string]*iam.Subject{}, Objects: map[string]iam.Object{}, Policies: map[string]*policy.Document{},
	}
}

// AllowAll is an identity policy that allows everything.
const AllowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// Set compiles a policy's text. It panics where the text is not one.
func Set(kind policy.Kind, text string) *policy.Set {
	doc, _, err := policy.Parse(kind, []byte(text))
	if err != nil {
		panic(err)
	}
	return policy.Compile(policy.Source{Name: "test", Document: doc})
}

// Subject implements iam.Directory.
func (d *Directory) Subject(p *call.Principal) (*iam.Subject, bool) {
	if d.Gone != nil && d.Gone(p) {
		return nil, false
	}
	if s, listed := d.Subjects[p.ARN]; listed {
		return s, s != nil
	}
	return d.Everyone, d.Everyone != nil && p.Type != ""
}

// Object implements iam.Directory.
func (d *Directory) Object(_ tenant.AccountID, resource string) iam.Object {
	return d.Objects[resource]
}

// Managed implements iam.Directory.
func (d *Directory) Managed(arn string) (*policy.Document, bool) {
	doc, found := d.Policies[arn]
	return doc, found
}
