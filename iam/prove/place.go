package prove

import (
	"errors"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/iam/policy"
)

// ids says whose places are looked for: the tenant's id, which is a mark or
// known, and the language of all ids.
type ids struct {
	tenant words
	own    []symbol
	all    *lang
	// keys are the condition keys that have the tenant's id as their value.
	keys map[string]bool
}

// slot stands for the id of any other tenant.
func (d *ids) slot() piece { return piece{kind: slotPiece, ids: d.all, not: d.own} }

// placeKind says what can be done at a place.
type placeKind uint8

const (
	objectPlace  placeKind = iota // objects, whose names hold their owner
	bucketPlace                   // buckets, whose names hold their owner
	listingPlace                  // the names of a bucket that holds many tenants' objects
	controlPlace                  // such a bucket as a whole
	layoutPlace                   // whatever a layout names
)

// place is resources of other tenants.
type place struct {
	kind placeKind
	// where is the place as a pattern, for texts.
	where string
	// foreign is the place for all other tenants, own for the tenant itself.
	foreign, own []words
	// prefixes are those whose listing shows other tenants' names.
	prefixes []words
	// bucket is its name if it is one whole bucket.
	bucket string
	// layout names the layout that says so; empty if it was inferred.
	layout string
	// meant says that the pattern that names it holds the tenant, so that whoever
	// wrote it meant to keep tenants apart there.
	meant bool
}

const bucketARN = "arn:aws:s3:::"

// places finds out from the patterns of Allows which resources of other
// tenants they may be about. A bucket that a pattern names is taken to be one
// that tenants share; one that it does not name belongs to the account or
// needs another account's consent.
func (d *ids) places(allows []*statement, layouts []Layout) []place {
	var out []place
	have := map[string]bool{}
	inferred := map[bool]map[string]bool{true: {}, false: {}} // by NotResource
	keep := func(all ...place) {
		for _, p := range all {
			key := string(rune('0'+p.kind)) + p.where
			if p.meant {
				key += " meant"
			}
			if !have[key] {
				have[key] = true
				out = append(out, p)
			}
		}
	}
	for _, s := range allows {
		for i := range s.Resources {
			found := d.named(&s.Resources[i], layouts, inferred[s.NotResource])
			if s.NotResource {
				// It allows what it does not name, which may be a part of the bucket.
				found = slices.DeleteFunc(found, func(p place) bool { return p.kind != objectPlace })
			}
			keep(found...)
		}
	}
	return out
}

// named gives the places that one pattern names. Those of a bucket that many
// patterns name are inferred once.
func (d *ids) named(a *policy.ARNPattern, layouts []Layout, inferred map[string]bool) []place {
	tokens, ok := d.bucketPattern(a)
	if !ok {
		return nil
	}
	var out []place
	meant := slices.ContainsFunc(tokens, d.isTenant)
	if l := layoutOf(tokens, layouts); l != nil {
		out = d.ofLayout(l)
	} else {
		bucket, _, _ := divide(tokens)
		key := patternKey(bucket)
		if meant {
			key += " meant"
		}
		if !inferred[key] {
			out = d.inferred(tokens)
		}
		inferred[key] = true
	}
	for i := range layouts {
		if d.concerns(a, &layouts[i]) {
			out = append(out, d.ofLayout(&layouts[i])...)
		}
	}
	for i := range out {
		out[i].meant = meant
	}
	return out
}

// bucketPattern gives the last part of a pattern for buckets or objects that
// names a bucket or a tenant.
func (d *ids) bucketPattern(a *policy.ARNPattern) (policy.Pattern, bool) {
	if a.All || !matchesText(a.Parts[2], "s3") || !matchesText(a.Parts[3], "") || !matchesText(a.Parts[4], "") {
		return nil, false
	}
	bucket, _, _ := divide(a.Parts[5])
	names := slices.ContainsFunc(bucket, func(t policy.Token) bool { return t.Kind == policy.Literal || t.HasDefault && t.Default != "" })
	return a.Parts[5], names || slices.ContainsFunc(a.Parts[5], d.isTenant)
}

func (d *ids) isTenant(t policy.Token) bool { return t.Kind == policy.Variable && d.keys[t.Text] }

// matchesText tells whether a pattern of literals and wildcards matches.
func matchesText(p policy.Pattern, text string) bool {
	if len(p) == 0 || len(p) == 1 && p[0].Kind == policy.Literal {
		return len(p) == 0 && text == "" || len(p) == 1 && p[0].Text == text
	}
	w, ok := (&world{}).expand(p, anyByte, asMust, false)
	if !ok {
		return false
	}
	a := &automaton{}
	a.must([]words{w})
	a.must([]words{{{kind: textPiece, text: text}}})
	_, o := a.find(wordBudget)
	return o == found
}

// divide cuts a pattern at its first slash into bucket and key.
func divide(p policy.Pattern) (bucket, key policy.Pattern, slash bool) {
	for i, t := range p {
		if t.Kind != policy.Literal {
			continue
		}
		before, after, found := strings.Cut(t.Text, "/")
		if !found {
			continue
		}
		bucket = slices.Clone(p[:i])
		if before != "" {
			bucket = append(bucket, policy.Token{Kind: policy.Literal, Text: before})
		}
		if after != "" {
			key = append(key, policy.Token{Kind: policy.Literal, Text: after})
		}
		return bucket, append(key, p[i+1:]...), true
	}
	return p, nil, false
}

// inferred gives the places of a bucket that nobody owns and no layout names:
// the owner stands in the bucket's name if the tenant does so in the pattern,
// and else is the first segment of the key.
func (d *ids) inferred(p policy.Pattern) []place {
	bucket, _, _ := divide(p)
	name := bucket.String()
	rest := []piece{{kind: textPiece, text: "/"}, {kind: runPiece, set: anyByte}}
	if slices.ContainsFunc(bucket, d.isTenant) {
		foreign, own := d.bucket(bucket, d.slot()), d.bucket(d.exact(bucket), d.tenant...)
		return []place{
			{kind: objectPlace, where: name + "/*", foreign: []words{join(append(slices.Clone(foreign), rest...))}, own: []words{join(append(slices.Clone(own), rest...))}},
			{kind: bucketPlace, where: name, foreign: []words{foreign}, own: []words{own}},
		}
	}
	whole := d.bucket(bucket)
	segment := append(slices.Clone(whole), piece{kind: textPiece, text: "/"})
	named := ""
	if len(bucket) == 1 && bucket[0].Kind == policy.Literal {
		named = bucket[0].Text
	}
	with := func(id ...piece) []words {
		alone := append(slices.Clone(segment), id...)
		return []words{join(append(slices.Clone(alone), rest...)), join(alone)}
	}
	listed := words{{kind: edgePiece}, d.slot(), rest[0], rest[1]}
	return []place{
		{kind: objectPlace, where: name + "/{tenant}/*", bucket: named, foreign: with(d.slot()), own: with(d.tenant...)},
		{kind: listingPlace, where: name, bucket: named, foreign: []words{whole}, own: []words{whole}, prefixes: []words{listed}},
		{kind: controlPlace, where: name, bucket: named, foreign: []words{whole}},
	}
}

// exact takes the wildcards beside the tenant out of a bucket pattern: with
// them a name is as well another tenant's.
func (d *ids) exact(p policy.Pattern) policy.Pattern {
	var out policy.Pattern
	for i, t := range p {
		if t.Kind == policy.Run && (i > 0 && d.isTenant(p[i-1]) || i+1 < len(p) && d.isTenant(p[i+1])) {
			continue
		}
		out = append(out, t)
	}
	return out
}

// bucket gives the names that a bucket pattern means, with an id in the place
// of the tenant.
func (d *ids) bucket(p policy.Pattern, id ...piece) words {
	out := words{{kind: textPiece, text: bucketARN}}
	for _, t := range p {
		switch {
		case d.isTenant(t) && id != nil:
			out = append(out, id...)
			id = nil
		case t.Kind == policy.Literal:
			out = append(out, piece{kind: textPiece, text: t.Text})
		case t.Kind == policy.One:
			out = append(out, piece{kind: onePiece, set: notSlash})
		default:
			out = append(out, piece{kind: runPiece, set: notSlash})
		}
	}
	return join(out)
}

const tenantSlot = "{tenant}"

// layoutOf gives the layout of the bucket that a pattern names as a whole.
func layoutOf(p policy.Pattern, layouts []Layout) *Layout {
	bucket, _, _ := divide(p)
	if len(bucket) != 1 || bucket[0].Kind != policy.Literal {
		return nil
	}
	for i := range layouts {
		name, found := strings.CutPrefix(layouts[i].Pattern, bucketARN)
		if name, _, _ = strings.Cut(name, "/"); found && name == bucket[0].Text {
			return &layouts[i]
		}
	}
	return nil
}

// concerns tells whether a pattern may be about what a layout names.
func (d *ids) concerns(a *policy.ARNPattern, l *Layout) bool {
	w, ok := (&world{}).expandARN(a, asMust)
	layout, valid := layoutWords(l.Pattern, piece{kind: runPiece, set: anyByte})
	if !ok || !valid || apart(w, layout) {
		return false
	}
	found := &automaton{}
	found.must([]words{w})
	found.must([]words{layout})
	_, o := found.find(wordBudget)
	return o != none
}

// Check tells what is wrong with a layout's pattern.
func (l *Layout) Check() error {
	parts := strings.SplitN(l.Pattern, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || strings.Count(l.Pattern, tenantSlot) != 1 || !strings.Contains(parts[5], tenantSlot) {
		return errors.New("write an ARN with one {tenant} in its last part, as in arn:aws:s3:::shared/{tenant}/*")
	}
	before, after, _ := strings.Cut(parts[5], tenantSlot)
	switch {
	case strings.ContainsAny(strings.Join(parts[:5], "")+before, "*?"):
		return errors.New("no wildcard stands before {tenant}")
	case after != "" && after[0] != '/' && after[0] != ':':
		return errors.New("behind {tenant} stands /, : or nothing, so that no owner's name can be a part of another's")
	}
	return nil
}

// layoutWords reads a layout's pattern; false if it has not exactly one slot.
func layoutWords(pattern string, id ...piece) (words, bool) {
	return slotted(pattern, 0, id)
}

// slotted reads a pattern before which so many colons of an ARN stand.
func slotted(pattern string, colons int, id words) (words, bool) {
	if strings.Count(pattern, tenantSlot) != 1 {
		return nil, false
	}
	var out words
	for len(pattern) > 0 {
		runs := notColon
		if colons >= 5 {
			runs = anyByte
		}
		switch {
		case strings.HasPrefix(pattern, tenantSlot):
			out = append(out, id...)
			pattern = pattern[len(tenantSlot):]
			continue
		case pattern[0] == '*':
			out = append(out, piece{kind: runPiece, set: runs})
		case pattern[0] == '?':
			out = append(out, piece{kind: onePiece, set: runs})
		default:
			if pattern[0] == ':' {
				colons++
			}
			out = append(out, piece{kind: textPiece, text: pattern[:1]})
		}
		pattern = pattern[1:]
	}
	return join(out), true
}

// ofLayout gives the places that a layout names.
func (d *ids) ofLayout(l *Layout) []place {
	foreign, ok := layoutWords(l.Pattern, d.slot())
	if !ok {
		return nil
	}
	own, _ := layoutWords(l.Pattern, d.tenant...)
	out := []place{{kind: layoutPlace, where: l.Pattern, foreign: []words{foreign}, own: []words{own}, layout: l.Name}}
	name, found := strings.CutPrefix(l.Pattern, bucketARN)
	bucket, key, slash := strings.Cut(name, "/")
	if found {
		out[0].kind = objectPlace
	}
	if !found || !slash || strings.ContainsAny(bucket, "*?{") {
		return out
	}
	whole := []words{{{kind: textPiece, text: bucketARN + bucket}}}
	listed, ok := slotted(key, 5, words{d.slot()})
	if !ok {
		return out
	}
	return append(out,
		place{kind: listingPlace, where: bucket, foreign: whole, own: whole, prefixes: []words{append(words{{kind: edgePiece}}, listed...)}, layout: l.Name},
		place{kind: controlPlace, where: bucket, foreign: whole, layout: l.Name})
}
