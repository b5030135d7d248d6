package queryapi

import (
	"bytes"
	"encoding/xml"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// document is the text of a policy, which IAM's replies carry percent-encoded
// (RFC 3986).
type document string

const upperHex = "0123456789ABCDEF"

func (d document) encoded() string {
	out := make([]byte, 0, len(d)+len(d)/2)
	for i := range len(d) {
		b := d[i]
		if 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~' {
			out = append(out, b)
			continue
		}
		out = append(out, '%', upperHex[b>>4], upperHex[b&15])
	}
	return string(out)
}

// timeForm is how replies write a time: ISO 8601, UTC, whole seconds.
const timeForm = "2006-01-02T15:04:05Z"

// encoder writes replies. Fields of the structs are elements of their names,
// in their order. Empty texts, zero times, nil pointers and nil slices are
// left out, unless the tag x:"keep" says otherwise for a text; numbers and
// booleans never are.
type encoder struct{ bytes.Buffer }

func newEncoder() *encoder {
	e := &encoder{}
	e.WriteString(xml.Header)
	return e
}

func (e *encoder) open(name string)  { e.WriteString("<" + name + ">") }
func (e *encoder) close(name string) { e.WriteString("</" + name + ">") }

func (e *encoder) text(name, value string) {
	e.open(name)
	xml.EscapeText(&e.Buffer, []byte(value)) // a buffer takes everything
	e.close(name)
}

func (e *encoder) fields(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			e.fields(v.Field(i))
			continue
		}
		e.value(f.Name, v.Field(i), f.Tag.Get("x") == "keep")
	}
}

func (e *encoder) value(name string, v reflect.Value, keep bool) {
	switch x := v.Interface().(type) {
	case time.Time:
		if !x.IsZero() {
			e.text(name, x.UTC().Format(timeForm))
		}
		return
	case document:
		if x != "" {
			e.text(name, x.encoded())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			e.value(name, v.Elem(), true)
		}
	case reflect.Struct:
		e.open(name)
		e.fields(v)
		e.close(name)
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		e.open(name)
		for i := range v.Len() {
			e.value("member", v.Index(i), true)
		}
		e.close(name)
	case reflect.Map:
		e.entries(name, v)
	case reflect.String:
		if s := v.String(); s != "" || keep {
			e.text(name, s)
		}
	case reflect.Int:
		e.text(name, strconv.FormatInt(v.Int(), 10))
	case reflect.Bool:
		e.text(name, strconv.FormatBool(v.Bool()))
	default:
		panic("queryapi: an output has a field of kind " + v.Kind().String())
	}
}

// entries writes a map of texts to something, ordered by key.
func (e *encoder) entries(name string, v reflect.Value) {
	if v.IsNil() {
		return
	}
	e.open(name)
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		e.open("entry")
		e.value("key", key, true)
		e.value("value", v.MapIndex(key), true)
		e.close("entry")
	}
	e.close(name)
}

// reply makes the body of an answer; a nil output is one without a result.
func (a *api) reply(operation, id string, output any) []byte {
	e := newEncoder()
	e.WriteString(`<` + operation + `Response xmlns="` + a.namespace + `">`)
	if output != nil {
		e.open(operation + "Result")
		e.fields(reflect.Indirect(reflect.ValueOf(output)))
		e.close(operation + "Result")
	}
	e.open("ResponseMetadata")
	e.text("RequestId", id)
	e.close("ResponseMetadata")
	e.close(operation + "Response")
	return e.Bytes()
}

// faults is the namespace of errors that AWS's front door answers, before a
// service has looked at the request.
const faults = "http://webservices.amazon.com/AWSFault/2005-15-09"

// errorReply makes the body of a refusal.
func (a *api) errorReply(id, party, code, message string) []byte {
	e, namespace := newEncoder(), a.namespace
	if code == "InvalidAction" {
		namespace = faults
	}
	e.WriteString(`<ErrorResponse xmlns="` + namespace + `">`)
	e.open("Error")
	e.text("Type", party)
	e.text("Code", code)
	e.text("Message", message)
	e.close("Error")
	e.text("RequestId", id)
	e.close("ErrorResponse")
	return e.Bytes()
}
