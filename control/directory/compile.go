package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/carrel-dev/carrel/iam/policy"
)

// maxKept bounds what a Compiler keeps of documents, and of sets, by the bytes
// of the texts that they were made of: a set takes up to 25 times as many. What
// is in use is kept by who uses it, too.
const maxKept = 8 << 20

// Compiler makes Sets of policies' texts and keeps them by what they were made
// of: accounts with the same policies share one. It is safe for concurrent use.
type Compiler struct {
	mu        sync.Mutex
	documents kept[*policy.Document] // nil for a text that is refused
	sets      kept[*policy.Set]
}

type digest [sha256.Size]byte

// kept is values by what they were made of.
type kept[V any] struct {
	values map[digest]sized[V]
	bytes  int
}

type sized[V any] struct {
	value V
	bytes int
}

// overhead is counted for each value beside its text.
const overhead = 128

// put keeps a value. If there is too much it first forgets a quarter,
// whichever: what is still asked for is made again.
func (k *kept[V]) put(d digest, value V, bytes int) {
	bytes += overhead
	if k.bytes+bytes > maxKept {
		for other, v := range k.values {
			if k.bytes <= maxKept*3/4 {
				break
			}
			k.bytes -= v.bytes
			delete(k.values, other)
		}
	}
	if k.values == nil {
		k.values = map[digest]sized[V]{}
	}
	k.bytes += bytes - k.values[d].bytes
	k.values[d] = sized[V]{value, bytes}
}

// NewCompiler makes a Compiler that has compiled nothing yet.
func NewCompiler() *Compiler { return &Compiler{} }

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
	known, found := c.documents.values[d]
	c.mu.Unlock()
	if found {
		return known.value, known.value != nil
	}
	// The size was bounded by its use when it was written.
	doc, _, err := policy.ParseFor(policy.ResourceUse, kind, []byte(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		doc = nil
	}
	c.documents.put(d, doc, len(text))
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
	known, found := c.sets.values[d]
	c.mu.Unlock()
	if found {
		return known.value, true
	}
	set, size, ok := c.make(gone, texts)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sets.put(d, set, size)
	return set, true
}

// make makes a Set of texts that is not kept: of several it joins the sets of
// each, so that those who have the same policies in other combinations share
// them. It gives the bytes of text that are not kept already.
func (c *Compiler) make(gone []string, texts []Text) (set *policy.Set, size int, ok bool) {
	if len(texts) == 1 {
		doc, ok := c.Parse(texts[0].Kind, texts[0].Text)
		if !ok {
			return nil, 0, false
		}
		if len(gone) > 0 {
			doc = without(doc, gone)
		}
		return policy.Compile(policy.Source{Name: texts[0].Name, Document: doc}), len(texts[0].Text), true
	}
	parts := make([]*policy.Set, len(texts))
	for i := range texts {
		if parts[i], ok = c.CompileWithout(gone, texts[i]); !ok {
			return nil, 0, false
		}
	}
	return policy.Join(parts...), 8 * len(parts), true
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
