package policy

import (
	"strings"
	"testing"
	"time"
)

// TestConditionsByEffect holds conditions to IAM.md 1.5: whether a statement with
// the condition allows, and whether one denies.
func TestConditionsByEffect(t *testing.T) {
	t.Parallel()
	c := &Context{}
	for key, value := range map[string]string{
		"k:s": "Abc", "k:n": "10.50", "k:d": "2026-01-31T10:00:00Z", "k:b": "TRUE", "k:i": "10.1.2.3", "k:6": "2001:db8::1", "k:m": "::ffff:10.1.2.3",
		"k:a": "arn:aws:iam::1:role/a:b", "k:x": "QUI=", "k:bad": "?", "k:empty": "", "k:epoch": "1769853600", "k:neg": "-1", "k:zone": "fe80::1%0", "k:long": strings.Repeat("A", 2000),
	} {
		c.Set(key, value)
	}
	c.SetAll("k:set", []string{"a", "b"})
	c.SetAll("k:one", []string{"a"})
	c.SetAll("k:none", nil)
	for condition, want := range map[string]string{ // "" for neither, A, D, or AD for both
		`{"StringEquals":{"k:s":["x","Abc"]}}`: "AD", `{"StringEquals":{"k:s":"abc"}}`: "", `{"StringEquals":{"K:S":"Abc"}}`: "AD",
		`{"StringEquals":{"k:s":"A*"}}`: "", `{"StringLike":{"k:s":"A?*"}}`: "AD", `{"StringLike":{"k:s":"a*"}}`: "",
		`{"StringEqualsIgnoreCase":{"k:s":"aBC"}}`: "AD", `{"StringNotEqualsIgnoreCase":{"k:s":"aBC"}}`: "",
		`{"StringNotEquals":{"k:s":["x","y"]}}`: "AD", `{"StringNotEquals":{"k:s":["x","Abc"]}}`: "", `{"StringNotLike":{"k:s":"A*"}}`: "",
		`{"StringEquals":{"k:empty":""}}`: "AD", `{"StringEquals":{"k:s":"${k:s}"}}`: "AD",
		`{"StringEquals":{"k:s":"${k:no}"}}`: "", `{"StringNotEquals":{"k:s":"${k:no}"}}`: "AD", `{"StringEquals":{"k:s":"${k:no, 'Abc'}"}}`: "AD",
		// Two operators, and two keys, must all hold.
		`{"StringEquals":{"k:s":"Abc"},"NumericEquals":{"k:n":"1"}}`: "", `{"StringEquals":{"k:s":"Abc","k:empty":"x"}}`: "",
		// A missing key.
		`{"StringEquals":{"k:no":"x"}}`: "", `{"StringNotEquals":{"k:no":"x"}}`: "AD", `{"NotIpAddress":{"k:no":"10.0.0.0/8"}}`: "AD",
		`{"ArnNotLike":{"k:no":"*"}}`: "AD", `{"DateNotEquals":{"k:no":"2026"}}`: "AD", `{"NumericLessThan":{"k:no":"1"}}`: "",
		`{"StringEqualsIfExists":{"k:no":"x"}}`: "AD", `{"StringEqualsIfExists":{"k:s":"x"}}`: "", `{"StringNotEqualsIfExists":{"k:no":"x"}}`: "AD",
		`{"Null":{"k:no":"true"}}`: "AD", `{"Null":{"k:no":"false"}}`: "", `{"Null":{"k:s":"false"}}`: "AD", `{"Null":{"k:s":["true","false"]}}`: "AD", `{"Null":{"k:none":"false"}}`: "AD",
		// Sets.
		`{"StringEquals":{"k:set":"a"}}`: "", `{"StringEquals":{"k:one":"a"}}`: "", `{"StringNotEquals":{"k:set":"x"}}`: "", `{"StringEqualsIfExists":{"k:set":"a"}}`: "",
		`{"ForAnyValue:StringEquals":{"k:set":["b","c"]}}`: "AD", `{"ForAnyValue:StringEquals":{"k:set":"c"}}`: "", `{"ForAnyValue:StringEquals":{"k:none":"c"}}`: "",
		`{"ForAnyValue:StringEquals":{"k:no":"c"}}`: "", `{"ForAnyValue:StringNotEquals":{"k:no":"c"}}`: "", `{"ForAnyValue:StringEqualsIfExists":{"k:no":"c"}}`: "AD",
		`{"ForAllValues:StringEquals":{"k:set":["a","b","c"]}}`: "AD", `{"ForAllValues:StringEquals":{"k:set":"a"}}`: "", `{"ForAllValues:StringEquals":{"k:none":"a"}}`: "AD", `{"ForAllValues:StringEquals":{"k:no":"a"}}`: "AD",
		`{"ForAnyValue:StringEquals":{"k:s":"Abc"}}`: "AD", `{"ForAllValues:StringEquals":{"k:s":"x"}}`: "",
		`{"ForAllValues:StringNotLike":{"k:set":"a*"}}`: "", `{"ForAnyValue:StringNotLike":{"k:set":"a*"}}`: "AD", `{"ForAllValues:StringNotLike":{"k:set":"x*"}}`: "AD",
		// Numbers.
		`{"NumericEquals":{"k:n":"010.5"}}`: "AD", `{"NumericNotEquals":{"k:n":10.5}}`: "", `{"NumericLessThan":{"k:n":"10.51"}}`: "AD", `{"NumericLessThan":{"k:n":"10.5"}}`: "", `{"NumericLessThanEquals":{"k:n":"10.5"}}`: "AD",
		`{"NumericGreaterThan":{"k:n":"9"}}`: "AD", `{"NumericGreaterThan":{"k:n":"100"}}`: "", `{"NumericGreaterThanEquals":{"k:n":"10.5"}}`: "AD", `{"NumericLessThan":{"k:neg":"0"}}`: "AD", `{"NumericGreaterThan":{"k:neg":"-2"}}`: "AD", `{"NumericGreaterThan":{"k:n":"-20"}}`: "AD",
		// Dates.
		`{"DateEquals":{"k:d":"2026-01-31T11:00+01:00"}}`: "AD", `{"DateNotEquals":{"k:d":"2026-01-31T10:00:00.0Z"}}`: "", `{"DateLessThan":{"k:d":"2026-02"}}`: "AD", `{"DateLessThanEquals":{"k:d":"2026"}}`: "",
		`{"DateGreaterThan":{"k:d":"2026"}}`: "AD", `{"DateGreaterThanEquals":{"k:d":"1769853600"}}`: "AD", `{"DateEquals":{"k:epoch":"2026-01-31T10:00:00Z"}}`: "AD",
		// Truth values, bytes, addresses, ARNs.
		`{"Bool":{"k:b":"true"}}`: "AD", `{"Bool":{"k:b":"false"}}`: "", `{"BinaryEquals":{"k:x":"QUI="}}`: "AD", `{"BinaryEquals":{"k:x":"QUE="}}`: "",
		`{"IpAddress":{"k:i":["192.0.2.0/24","10.0.0.0/8"]}}`: "AD", `{"NotIpAddress":{"k:i":"10.1.2.3"}}`: "", `{"IpAddress":{"k:6":"0.0.0.0/0"}}`: "", `{"NotIpAddress":{"k:6":"0.0.0.0/0"}}`: "AD",
		`{"IpAddress":{"k:6":"2001:db8::/32"}}`: "AD", `{"IpAddress":{"k:m":"10.0.0.0/8"}}`: "AD",
		`{"ArnLike":{"k:a":"arn:aws:iam::?:role/*"}}`: "AD", `{"ArnEquals":{"k:a":"arn:*:iam::1:role/a:b"}}`: "AD", `{"ArnLike":{"k:a":"arn:aws:*:1:role/a:b"}}`: "", `{"ArnLike":{"k:a":"*"}}`: "AD",
		`{"ArnLike":{"k:s":"*"}}`: "", `{"ArnNotLike":{"k:s":"*"}}`: "AD", `{"ArnNotEquals":{"k:a":"arn:aws:iam::1:*"}}`: "", `{"ArnLike":{"k:a":"arn:aws:iam::1:role/${k:no}"}}`: "",
		// A value of another type refuses: it does not allow, and it denies.
		`{"NumericEquals":{"k:bad":"1"}}`: "D", `{"NumericNotEquals":{"k:bad":"1"}}`: "D", `{"DateLessThan":{"k:bad":"2026"}}`: "D", `{"Bool":{"k:bad":"false"}}`: "D", `{"BinaryEquals":{"k:bad":"QUI="}}`: "D",
		`{"BinaryEquals":{"k:long":"QUI="}}`: "D", `{"IpAddress":{"k:bad":"10.0.0.0/8"}}`: "D", `{"NotIpAddress":{"k:zone":"10.0.0.0/8"}}`: "D",
	} {
		if got := effects(t, condition, c); got != want {
			t.Errorf("%s holds in %q, want %q", condition, got, want)
		}
	}
}

// effects tells in which statements a condition holds: A, D or both.
func effects(t *testing.T, condition string, c *Context) (held string) {
	t.Helper()
	for _, effect := range []string{"Allow", "Deny"} {
		s := set(t, Identity, one(`{"Effect":"`+effect+`","Action":"*","Resource":"*","Condition":`+strings.ReplaceAll(condition, "'", `\u0027`)+`}`))
		r := Request{Action: "s3:GetObject", Resource: object, ResourceAccount: "111111111111", Principal: asUser(), Context: c}
		if Evaluate(&r, &Layers{Identity: s}).Verdict != ImplicitlyDenied {
			held += effect[:1]
		}
	}
	return held
}

func TestConditionsAllocateNothing(t *testing.T) {
	l := &Layers{
		Identity: set(t, Identity, one(`{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::myapp-${tenant_id}/*","Condition":{
			"StringLike":{"k:s":"a*"},"NumericLessThan":{"k:n":"5"},"DateLessThan":{"k:d":"2030"},"IpAddress":{"k:i":"10.0.0.0/8"},"ArnLike":{"k:a":"arn:*:iam::*:role/*"},"Bool":{"k:b":"true"},"BinaryEquals":{"k:x":"QUI="}}}`)),
		SCPs: []Level{{"root", set(t, SCP, one(allowAll))}}, Caps: []*Set{set(t, Session, one(allowAll))},
	}
	r := &Request{Action: "s3:GetObject", ResourceAccount: "111111111111", Principal: asUser()}
	r.Resource, r.Context = "arn:aws:s3:::myapp-acme/k", tenantContext()
	for key, value := range map[string]string{"k:s": "abc", "k:n": "4", "k:d": "2026-01-31T10:00:00+01:00", "k:i": "10.0.0.1", "k:a": "arn:aws:iam::1:role/r", "k:b": "true", "k:x": "QUI="} {
		r.Context.Set(key, value)
	}
	if got := Evaluate(r, l); got.Verdict != Allowed {
		t.Fatalf("decided %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { Evaluate(r, l) }); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// TestDates holds the calendar to that of package time, which only tests may
// ask.
func TestDates(t *testing.T) {
	t.Parallel()
	for day := time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2262; day = day.AddDate(0, 0, 17) {
		for _, zone := range []string{"Z", "+00:00", "-23:59", "+05:30"} {
			text := day.Format("2006-01-02T15:04:05.5") + zone
			want, err := time.Parse(time.RFC3339Nano, text)
			if got, ok := dateOf(text); err != nil || !ok || got != want.UnixNano() {
				t.Fatalf("%s is %d, want %d (%v)", text, got, want.UnixNano(), err)
			}
		}
	}
	for text, fine := range map[string]bool{
		"2024-02-29": true, "2000-02-29": true, "2023-02-29": false, "1900-02-29": false, "2023-04-31": false, "2023-13-01": false, "2023-00-01": false, "2023-01-00": false,
		"2023": true, "2023-": false, "2023-1": false, "1677": false, "2262": false, "2023T10:00Z": false,
		"2023-01-01T10:00": false, "2023-01-01T10:00Z": true, "2023-01-01T10:00Z01:00": false, "2023-01-01T10:00+0100": false, "2023-01-01T10:00+24:00": false, "2023-01-01T10:00-01:60": false,
		"2023-01-01T24:00Z": false, "2023-01-01T10:60Z": false, "2023-01-01T10:00:60Z": false, "2023-01-01T10Z": false, "2023-01-01T10:00:00.Z": false, "2023-01-01T10:00:00.1234567890Z": false, "2023-01-01TZ": false,
		"0": true, "9214646399": true, "9214646400": false, "99999999999999": false, "-1": false, "": false,
	} {
		if _, ok := dateOf(text); ok != fine {
			t.Errorf("%q is a date: %v", text, ok)
		}
	}
}
