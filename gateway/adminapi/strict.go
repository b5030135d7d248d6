package adminapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/internal/strictjson"
)

// Bounds of a request's JSON. Its own shapes nest three deep.
const (
	maxBodyDepth  = 32
	maxBodyValues = 50_000
)

// strict refuses requests that two readers could take for different ones,
// before they are parsed: names that stand twice or differ by case, and names
// that this API does not have, with the one that was probably meant. Nothing
// that a caller writes is passed over.
func (h *handler) strict(ctx huma.Context, next func(huma.Context)) {
	s := sessionOf(ctx.Context())
	err := h.checkQuery(ctx)
	if err == nil {
		err = h.checkBody(ctx.Operation(), s.body)
	}
	if err == nil {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	e := h.failure(r.Context(), s.id, err)
	if fault.From("", err).Reason == reasonUnknown {
		e.status = http.StatusUnprocessableEntity // as all that is well formed and not in the document
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(e) // a caller that has gone away is no error of ours
}

// reasonUnknown marks the refusal of a name that the document does not have.
const reasonUnknown = "UnknownName"

func unknown(what, name string, known []string) error {
	slices.Sort(known)
	e := fault.New("adminapi.strict", fault.Invalid, "The request has %s %q, which this operation does not know.", what, fault.Clip(name)).
		WithCode(codeValidation)
	e.Reason = reasonUnknown
	if near, found := strictjson.Nearest(name, known); found {
		return e.WithRemedy("Did you mean %q?", near)
	}
	if len(known) == 0 {
		return e.WithRemedy("It takes none.")
	}
	return e.WithRemedy("It knows %s; see %s.", strings.Join(known, ", "), documentPath)
}

func (h *handler) checkQuery(ctx huma.Context) error {
	var known []string
	for _, p := range ctx.Operation().Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	r, _ := humago.Unwrap(ctx)
	query := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(known, name):
			return unknown("the parameter", name, known)
		case len(query[name]) > 1:
			return fault.New("adminapi.strict", fault.Invalid, "The parameter %s stands %d times.", name, len(query[name])).WithCode(codeValidation)
		}
	}
	return nil
}

func (h *handler) checkBody(op *huma.Operation, body []byte) error {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil // missing where there has to be one: the parser says so
	}
	doc, err := strictjson.Parse(body, strictjson.Limits{Depth: maxBodyDepth, Values: maxBodyValues})
	if err != nil {
		return fault.Wrap("adminapi.strict", fault.Invalid, err, "The body is not taken: %s.", err).WithCode(codeValidation)
	}
	if op.RequestBody == nil {
		return h.checkNames(doc, 0, &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false})
	}
	return h.checkNames(doc, 0, op.RequestBody.Content["application/json"].Schema)
}

// checkNames holds the names in a value against what the document says of it.
// Kinds of values are the parser's business.
func (h *handler) checkNames(doc *strictjson.Doc, at int32, s *huma.Schema) error {
	if s != nil && s.Ref != "" {
		s = h.api.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return nil
	}
	v := &doc.Values[at]
	for c := at + 1; c < v.End; c = doc.Values[c].End {
		inner := s.Items
		if v.Kind == strictjson.Object {
			name, found := doc.Values[c].Name, false
			if inner, found = s.Properties[name]; !found {
				others, open := s.AdditionalProperties.(*huma.Schema)
				if closed, is := s.AdditionalProperties.(bool); is && !closed {
					return unknown("the member", strings.TrimPrefix(doc.Path(c), "$."), withPath(doc.Path(at), slices.Collect(maps.Keys(s.Properties))))
				}
				if open {
					inner = others
				}
			}
		}
		if err := h.checkNames(doc, c, inner); err != nil {
			return err
		}
	}
	return nil
}

// withPath puts names after the path of the object that has them.
func withPath(path string, names []string) []string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "$"), ".")
	if path == "" {
		return names
	}
	for i := range names {
		names[i] = path + "." + names[i]
	}
	return names
}
