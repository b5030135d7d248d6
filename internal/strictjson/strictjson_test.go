package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatIsRefused(t *testing.T) {
	limits := Limits{Bytes: 1000, Depth: 4, Values: 10}
	for name, c := range map[string]struct{ text, path, says string }{
		"nothing":            {"", "$", "ends too early"},
		"two values":         {"{} {}", "$", "more text"},
		"a comment":          {"/* */ 1", "$", "not expected"},
		"a last comma":       {`[1,]`, "$[1]", "not expected"},
		"a single quote":     {`{'a':1}`, "$", "not expected"},
		"a name twice":       {`{"a":{"b":1,"b":2}}`, "$.a.b", `"b" stands twice`},
		"a name escaped":     {`{"a":1,"\u0061":2,"c":3}`, "$.a", `"a" stands twice`},
		"too deep":           {`[[[[[1]]]]]`, "$[0][0][0][0]", "levels deep"},
		"too many":           {`[1,2,3,4,5,6,7,8,9,10]`, "$[8]", "more than 10 values"},
		"too long":           {`"` + strings.Repeat("a", 1000) + `"`, "", "1000 are allowed"},
		"half a pair":        {`{"a":"\ud800"}`, "$.a", "surrogate"},
		"the other half":     {`"\udc00"`, "$", "surrogate"},
		"no UTF-8":           {"\"\xff\"", "", "UTF-8"},
		"a line break":       {"\"a\nb\"", "$", "control character"},
		"an odd escape":      {`"\x41"`, "$", "escape"},
		"a sign":             {"+1", "$", "not expected"},
		"a leading zero":     {"01", "$", "more text"},
		"no fraction":        {"1.", "$", "too early"},
		"not a number":       {"NaN", "$", "not expected"},
		"a huge number":      {`{"a":[1e999999999]}`, "$.a[0]", "exponent"},
		"a tiny number":      {"1e-99999999999999999999999", "$", "exponent"},
		"a long number":      {strings.Repeat("9", 129), "$", "characters"},
		"an unended string":  {`"abc`, "$", "too early"},
		"an unended escape":  {`"abc\u00`, "$", "too early"},
		"half a word":        {"nul", "$", "not expected"},
		"a name without one": {`{1:2}`, "$", "not expected"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.text), limits)
			e, ok := err.(*Error)
			if !ok || !strings.Contains(e.Message, c.says) || c.path != e.Path {
				t.Errorf("%.40q: %+v, want %q at %q", c.text, err, c.says, c.path)
			}
		})
	}
}

// value gives a document as encoding/json does.
func (d *Doc) value(at int32) any {
	v := &d.Values[at]
	switch v.Kind {
	case Null:
		return nil
	case True, False:
		return v.Kind == True
	case Number:
		return json.Number(v.Text)
	case String:
		return v.Text
	case List:
		list := []any{}
		for c := at + 1; c < v.End; c = d.Values[c].End {
			list = append(list, d.value(c))
		}
		return list
	}
	object := map[string]any{}
	for c := at + 1; c < v.End; c = d.Values[c].End {
		object[d.Values[c].Name] = d.value(c)
	}
	return object
}

// FuzzParse: what is taken means what the standard library reads, and what the
// standard library does not take is not taken here.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"x\n\u00e9\ud83d\ude00",true,false,null,{}],"b":{"c":[]}}`, `[[[[1]]]]`, `{"a":1,"a":2}`, `1e400`, `"\ud800"`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		limits := Limits{Depth: 20, Values: 1000}
		doc, err := Parse(text, limits)
		if err != nil {
			if doc != nil || err.Error() == "" {
				t.Fatalf("%v with an error %v", doc, err)
			}
			return
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || !utf8.Valid(text) {
			t.Fatalf("%q was taken; the standard library says %v", text, err)
		}
		if got := doc.value(0); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as %v, want %v", text, got, want)
		}
		if len(doc.Values) > limits.Values || int(doc.Values[0].End) != len(doc.Values) {
			t.Fatalf("%d values, the first ends at %d", len(doc.Values), doc.Values[0].End)
		}
		for i := range doc.Values {
			if p := doc.Path(int32(i)); !strings.HasPrefix(p, "$") || len(p) > mostPath+300 {
				t.Fatalf("value %d has the path %q", i, p)
			}
		}
	})
}

func TestPaths(t *testing.T) {
	doc, err := Parse([]byte(`{"a":[1,{"unit price":2}],"b":3}`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range doc.Values {
		got = append(got, doc.Path(int32(i)))
	}
	if want := []string{"$", "$.a", "$.a[0]", "$.a[1]", `$.a[1]["unit price"]`, "$.b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	if at, found := doc.Member(0, "b"); !found || doc.Path(at) != "$.b" {
		t.Errorf("b is at %d, %v", at, found)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"tenantId", "plan", "parent", "tags", "defaultRoles"}
	for misspelt, want := range map[string]string{
		"tenantid": "tenantId", "TENANTID": "tenantId", "tenant_id": "tenantId", "tenatnId": "tenantId", "paln": "plan",
		"plans": "plan", "tag": "tags", "parnet": "parent", "region": "", "x": "", "": "",
	} {
		if got, found := Nearest(misspelt, names); got != want || found != (want != "") {
			t.Errorf("%q: %q, want %q", misspelt, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte("[" + strings.Repeat(`{"id":"9b2e","count":12,"tags":["a","b"]},`, 200) + "0]")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
