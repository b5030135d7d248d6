package policy

import "strconv"

// layerNames are the layers as explanations and errors call them.
var layerNames = [...]string{
	LayerIdentity: "identity policy", LayerResource: "resource policy", LayerBoundary: "permissions boundary",
	LayerSession: "session policy", LayerSCP: "service control policy", LayerRCP: "resource control policy", LayerCap: "cap",
}

// String gives the layer's name.
func (l Layer) String() string { return layerNames[l] }

// Has tells whether a decision was blocked by a layer.
func (d Decision) Has(l Layer) bool { return d.Blocked&(1<<l) != 0 }

// capName numbers the caps of an explanation; a plain decision needs no names.
func capName(i int, e *Explanation) string {
	if e == nil {
		return ""
	}
	return strconv.Itoa(i + 1)
}

// note keeps a statement that matched.
func (e *Explanation) note(layer Layer, level string, s *statement) {
	e.Statements = append(e.Statements, Reference{
		Layer: layer, Policy: s.policy, Level: level, Index: s.index, SID: s.sid, Effect: s.effect,
	})
}

// finish leaves the statements that decided and says what was missing.
func (e *Explanation) finish(q *query) {
	want := Allow
	if e.Verdict == ExplicitlyDenied {
		want = Deny
	}
	kept := e.Statements[:0]
	for _, r := range e.Statements {
		if r.Effect == want {
			kept = append(kept, r)
		}
	}
	e.Statements = kept
	if e.Verdict != ImplicitlyDenied {
		return
	}
	if e.Blocked == 0 {
		e.Missing = append(e.Missing, "the request names no action or no resource, or one that is too long")
	}
	for l := range Layer(len(layerNames)) {
		if e.Has(l) {
			e.Missing = append(e.Missing, "no "+l.String()+" allows "+q.Action+" on "+q.Resource)
		}
	}
}
