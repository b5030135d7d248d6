package queryapi

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const referenceHead = `# Operations of IAM and STS

This page is generated from the tables that requests are answered from. An operation
NAME needs the permission ` + "`iam:NAME` or `sts:NAME`" + `; ` + "`GetCallerIdentity`" + ` needs none.
Parameters in bold have to be there; a list is written ` + "`NAME.member.N`" + `. A parameter
that is not in the list is refused, and so is one that is sent twice.

A request has at most %d bytes, %d parameters, %d elements in a list
and %d parts in a parameter's name.
`

// reference is the page about what is served.
func reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, mostBody, mostParams, mostItems, mostDepth)
	for _, s := range []struct {
		title string
		api   *api
	}{{"IAM", iamAPI()}, {"STS", stsAPI()}} {
		var served, missing []string
		for _, name := range slices.Sorted(maps.Keys(s.api.operations)) {
			if op := s.api.operations[name]; op.serve != nil {
				served = append(served, "| `"+name+"` | "+strings.Join(parameters(op.input, ""), ", ")+" |")
			} else {
				missing = append(missing, "`"+name+"`")
			}
		}
		fmt.Fprintf(&b, "\n## %s, version %s\n\n%d operations of AWS's %d are served.\n\n| operation | parameters |\n|---|---|\n%s\n",
			s.title, s.api.version, len(served), len(s.api.operations), strings.Join(served, "\n"))
		fmt.Fprintf(&b, "\nKnown by name, and answered with 400 `InvalidAction`: %s.\n", strings.Join(missing, ", "))
	}
	return b.String()
}

// parameters are those of an input, in the order in which they are read.
func parameters(typ reflect.Type, prefix string) (list []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			list = append(list, parameters(f.Type, prefix)...)
			continue
		}
		name := prefix + f.Name
		if other := f.Tag.Get("name"); other != "" {
			name = prefix + other
		}
		if elem := f.Type; elem.Kind() == reflect.Slice && elem.Elem().Kind() == reflect.Struct {
			var parts []string
			for _, p := range parameters(elem.Elem(), "") {
				parts = append(parts, strings.ReplaceAll(p, "*", ""))
			}
			name += " (" + strings.Join(parts, ", ") + ")"
		}
		if f.Tag.Get("q") != "" {
			name = "**" + name + "**"
		}
		list = append(list, name)
	}
	return list
}

func TestReferencePage(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/iam-operations.md"
	want := reference()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the tables say (%v): go test ./gateway/queryapi -update", file, err)
	}
}
