package docs

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/control/directory"
)

// oneOrMany is a string or a list of strings, as policies have them.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(string(text), "[") {
		return json.Unmarshal(text, (*[]string)(o))
	}
	*o = make(oneOrMany, 1)
	return json.Unmarshal(text, &(*o)[0])
}

// TestRolesPageIsTheBuiltinPolicies holds docs/reference/roles.md to the
// policies as they are built in: each has a section, whose lists are the
// actions that its statements allow, spare and deny.
func TestRolesPageIsTheBuiltinPolicies(t *testing.T) {
	page := pages(t)["docs/reference/roles.md"]
	written := map[string]map[string]string{} // policy -> list -> its actions
	list := regexp.MustCompile(`(?m)^- (Allows|Allows all but|Denies): ((?:.|\n  )+)`)
	action := regexp.MustCompile("`((?:[a-z]+:)?[A-Za-z]*\\*?)`")
	for _, section := range strings.Split(page, "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		written[name] = map[string]string{}
		for _, m := range list.FindAllStringSubmatch(text, -1) {
			var actions []string
			for _, a := range action.FindAllStringSubmatch(m[2], -1) {
				actions = append(actions, a[1])
			}
			slices.Sort(actions)
			written[name][m[1]] = strings.Join(actions, " ")
		}
	}
	for _, p := range directory.Builtins() {
		var policy struct {
			Statement []struct {
				Effect            string
				Action, NotAction oneOrMany
			}
		}
		if err := json.Unmarshal([]byte(p.Text()), &policy); err != nil {
			t.Fatal(err)
		}
		lists := map[string][]string{}
		for _, s := range policy.Statement {
			switch {
			case s.Effect == "Deny" && s.NotAction == nil:
				lists["Denies"] = append(lists["Denies"], s.Action...)
			case s.Effect == "Allow" && s.NotAction == nil:
				lists["Allows"] = append(lists["Allows"], s.Action...)
			case s.Effect == "Allow":
				lists["Allows all but"] = append(lists["Allows all but"], s.NotAction...)
			default:
				t.Fatalf("%s has a statement that this test cannot read: %+v", p.Name, s)
			}
		}
		for _, what := range []string{"Allows", "Allows all but", "Denies"} {
			slices.Sort(lists[what])
			if want := strings.Join(lists[what], " "); written[p.Name][what] != want {
				t.Errorf("roles.md, %s, %s: %q, and the policy says %q", p.Name, what, written[p.Name][what], want)
			}
		}
		delete(written, p.Name)
	}
	for name := range written {
		t.Errorf("roles.md describes %s, which is no built-in policy", name)
	}
}
