package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// String gives the pattern as it is written in policies of Version2012.
func (p Pattern) String() string { return p.text(syntax{variables: true, wildcards: true}) }

// text writes a pattern so that parsing it with the same syntax gives it
// again. Only Version2012 has escapes; without variables no literal needs one.
func (p Pattern) text(s syntax) string {
	var out strings.Builder
	for _, t := range p {
		switch t.Kind {
		case Run:
			out.WriteByte('*')
		case One:
			out.WriteByte('?')
		case Variable:
			out.WriteString("${" + t.Text)
			if t.HasDefault {
				out.WriteString(", '" + t.Default + "'")
			}
			out.WriteByte('}')
		default:
			text := t.Text
			if s.variables {
				text = strings.ReplaceAll(text, "${", "${$}{")
			}
			if s.variables && s.wildcards {
				text = strings.NewReplacer("*", "${*}", "?", "${?}").Replace(text)
			}
			out.WriteString(text)
		}
	}
	return out.String()
}

// String gives the pattern as it is written in policies of Version2012.
func (a ARNPattern) String() string { return a.text(syntax{variables: true, wildcards: true}) }

func (a ARNPattern) text(s syntax) string {
	if a.All {
		return "*"
	}
	parts := make([]string, len(a.Parts))
	for i, p := range a.Parts {
		parts[i] = p.text(s)
	}
	return strings.Join(parts, ":")
}

type documentJSON struct {
	Version   Version
	ID        string `json:"Id,omitempty"`
	Statement []statementJSON
}

type statementJSON struct {
	SID          string                         `json:"Sid,omitempty"`
	Effect       string                         `json:"Effect"`
	Principal    any                            `json:"Principal,omitempty"`
	NotPrincipal any                            `json:"NotPrincipal,omitempty"`
	Action       []string                       `json:"Action,omitempty"`
	NotAction    []string                       `json:"NotAction,omitempty"`
	Resource     []string                       `json:"Resource,omitempty"`
	NotResource  []string                       `json:"NotResource,omitempty"`
	Condition    map[string]map[string][]string `json:"Condition,omitempty"`
}

// MarshalJSON writes the policy out: parsed again it gives an equal document,
// but for the order of conditions.
func (d *Document) MarshalJSON() ([]byte, error) {
	out := documentJSON{Version: d.Version, ID: d.ID, Statement: make([]statementJSON, len(d.Statements))}
	for i := range d.Statements {
		out.Statement[i] = d.Statements[i].json(syntax{variables: d.Version == Version2012, wildcards: true})
	}
	text, err := json.Marshal(out)
	return escape(text), err
}

// escape writes the characters as escapes that may not stand in policies.
func escape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		case r > 0xFF:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

func (s *Statement) json(syntax syntax) statementJSON {
	out := statementJSON{SID: s.SID, Effect: s.Effect.String()}
	if s.NotPrincipal {
		out.NotPrincipal = s.Principals.json()
	} else if s.Principals != nil {
		out.Principal = s.Principals.json()
	}
	var actions, resources []string
	for _, a := range s.Actions {
		actions = append(actions, a.String())
	}
	for _, r := range s.Resources {
		resources = append(resources, r.text(syntax))
	}
	if out.Action = actions; s.NotAction {
		out.Action, out.NotAction = nil, actions
	}
	if out.Resource = resources; s.NotResource {
		out.Resource, out.NotResource = nil, resources
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		if out.Condition == nil {
			out.Condition = map[string]map[string][]string{}
		}
		if out.Condition[c.Name()] == nil {
			out.Condition[c.Name()] = map[string][]string{}
		}
		for _, v := range c.Values {
			out.Condition[c.Name()][c.Key] = append(out.Condition[c.Name()][c.Key], v.Text)
		}
	}
	return out
}

// String is the effect's name in policies.
func (e Effect) String() string {
	if e == Allow {
		return "Allow"
	}
	return "Deny"
}

func (p *Principals) json() any {
	if p.Any && len(p.AWS)+len(p.Service)+len(p.Federated) == 0 {
		return "*"
	}
	out := map[string][]string{}
	if p.Any {
		out["AWS"] = []string{"*"}
	}
	for name, list := range map[string][]string{"AWS": p.AWS, "Service": p.Service, "Federated": p.Federated} {
		if len(list) > 0 {
			out[name] = append(out[name], list...)
		}
	}
	return out
}
