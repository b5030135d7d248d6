package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/carrel-dev/carrel/iam/policy"
)

// The bounds of what a Compiler keeps. A policy is at most 6,144 characters,
// so all of it is some 100 MB at the very most, and a few MB with the policies
// that people write.
const (
	maxDocuments = 8_192
	maxSets      = 8_192
)

// Compiler makes Sets of policies' texts and keeps them by what they were made
// of: accounts with the same policies share one. It is safe for concurrent use.
type Compiler struct {
	mu        sync.Mutex
	documents map[digest]*policy.Document // nil for a text that is refused
	sets      map[digest]*policy.Set
}

type digest [sha256.Size]byte

// NewCompiler makes a Compiler that has compiled nothing yet.
func NewCompiler() *Compiler {
	return &Compiler{documents: map[digest]*policy.Document{}, sets: map[digest]*policy.Set{}}
}

// Text is a policy's text with the name that explanations give it.
type Text struct {
	Name string
	Kind policy.Kind
	Text string
}

// Parse reads a policy that was checked when it was written; false if it is
// not one all the same.
func (c *Compiler) Parse(kind policy.Kind, text string) (*policy.Document, bool) {
	doc, _, ok := c.Document(kind, text)
	return doc, ok
}

// Document is Parse that also gives a name for the text: equal for equal
// texts of one kind only.
func (c *Compiler) Document(kind policy.Kind, text string) (doc *policy.Document, name string, ok bool) {
	d := digestOf(nil, Text{Kind: kind, Text: text})
	doc, ok = c.document(d, kind, text)
	return doc, hex.EncodeToString(d[:]), ok
}

func (c *Compiler) document(d digest, kind policy.Kind, text string) (*policy.Document, bool) {
	c.mu.Lock()
	doc, known := c.documents[d]
	c.mu.Unlock()
	if known {
		return doc, doc != nil
	}
	// The size was bounded by its use when it was written.
	doc, _, err := policy.ParseFor(policy.ResourceUse, kind, []byte(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	makeRoom(c.documents, maxDocuments)
	if err != nil {
		doc = nil
	}
	c.documents[d] = doc
	return doc, doc != nil
}

// Compile makes one Set of texts; false if one of them is no policy.
func (c *Compiler) Compile(texts ...Text) (*policy.Set, bool) { return c.CompileWithout(nil, texts...) }

// CompileWithout is Compile of policies that do not mean the principals of
// some ARNs any more: what allows them, allows nobody in their place. What
// denies them stays.
func (c *Compiler) CompileWithout(gone []string, texts ...Text) (*policy.Set, bool) {
	d := digestOf(gone, texts...)
	c.mu.Lock()
	set, known := c.sets[d]
	c.mu.Unlock()
	if known {
		return set, true
	}
	sources := make([]policy.Source, 0, len(texts))
	for _, t := range texts {
		doc, ok := c.Parse(t.Kind, t.Text)
		if !ok {
			return nil, false
		}
		if len(gone) > 0 {
			doc = without(doc, gone)
		}
		sources = append(sources, policy.Source{Name: t.Name, Document: doc})
	}
	set = policy.Compile(sources...)
	c.mu.Lock()
	defer c.mu.Unlock()
	makeRoom(c.sets, maxSets)
	c.sets[d] = set
	return set, true
}

// without gives a copy of a document that allows nothing to principals of some
// ARNs. One that NotPrincipal leaves out of a Deny is not left out any more.
func without(doc *policy.Document, gone []string) *policy.Document {
	next := *doc
	next.Statements = slices.Clone(doc.Statements)
	for i := range next.Statements {
		st := &next.Statements[i]
		if st.Principals == nil || st.Effect == policy.Deny && !st.NotPrincipal {
			continue
		}
		left := *st.Principals
		left.AWS = slices.DeleteFunc(slices.Clone(left.AWS), func(arn string) bool { return slices.Contains(gone, arn) })
		st.Principals = &left
	}
	return &next
}

// makeRoom forgets a quarter of a full map, whichever: what is still asked
// for is made again.
func makeRoom[V any](m map[digest]V, most int) {
	if len(m) < most {
		return
	}
	left := most / 4
	for k := range m {
		if left == 0 {
			return
		}
		delete(m, k)
		left--
	}
}

// digestOf tells lists of texts apart: each part goes in with its length.
func digestOf(gone []string, texts ...Text) digest {
	h := sha256.New()
	part := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, arn := range gone {
		h.Write([]byte{0xff})
		part(arn)
	}
	for _, t := range texts {
		h.Write([]byte{byte(t.Kind)})
		part(t.Name)
		part(t.Text)
	}
	var d digest
	h.Sum(d[:0])
	return d
}
