package credential_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/iam/credential"
)

// medianRatio times two requests in turns and gives the ratio of the medians.
func medianRatio(v *credential.Verifier, a, b *http.Request, rounds int) float64 {
	var times [2][]time.Duration
	for range rounds {
		for i, r := range []*http.Request{a, b} {
			start := time.Now()
			_, _ = v.Verify(r, nil)
			times[i] = append(times[i], time.Since(start))
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	return float64(times[0][rounds/2]) / float64(times[1][rounds/2])
}

// TestEqualWork is A29: an unknown, an inactive and a known key cost the
// same, and so do signatures that are wrong in their first and last digit.
// Medians of 10,000 interleaved calls; the best of three attempts counts,
// because other work on the machine can only pull them apart.
func TestEqualWork(t *testing.T) {
	v := newVerifier(signedAt)
	good := message{method: "GET", url: "http://localhost/2015-03-31/functions/"}.sign(t)
	with := func(old, replacement string) *http.Request {
		r := good.Clone(t.Context())
		editAuth(old, replacement)(r)
		return r
	}
	auth := good.Header.Get("Authorization")
	signature := auth[len(auth)-64:]
	wrongFirst := flip(signature[0]) + signature[1:]
	wrongLast := signature[:63] + flip(signature[63])
	wrong := with(signature, wrongFirst)
	for name, other := range map[string]*http.Request{
		"unknown":        with("AKIDEXAMPLE", "AKIDUNKNOWN"),
		"inactive":       with("AKIDEXAMPLE", "AKIDINACTIVE"),
		"last digit":     with(signature, wrongLast),
		"other's secret": with("AKIDEXAMPLE", "AKIDGLOBEX"),
	} {
		ratio := 0.0
		for range 3 {
			if ratio = medianRatio(v, other, wrong, 10_000); 0.85 < ratio && ratio < 1.18 {
				break
			}
		}
		t.Logf("%s: %.3f", name, ratio)
		if ratio <= 0.85 || ratio >= 1.18 {
			t.Errorf("%s: %.2f of the time of a wrong signature", name, ratio)
		}
	}
	// The control: the method sees a refusal that does less.
	early := with("AKIDEXAMPLE", "AKID*")
	if ratio := medianRatio(v, early, wrong, 1000); ratio > 0.85 {
		t.Errorf("a refusal before the signature takes %.2f of the time: the measurement shows nothing", ratio)
	}
	if strings.Contains(auth, "UNKNOWN") {
		t.Fatal("the signed request was changed")
	}
}

// TestNothingPerRequest keeps the path of a request free of allocations.
func TestNothingPerRequest(t *testing.T) {
	v := newVerifier(signedAt)
	r := message{url: "http://localhost/2015-03-31/functions/hello/invocations", body: "b"}.sign(t)
	body := []byte("b")
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := v.Verify(r, body); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 2 { // a collection may empty the pools in between
		t.Errorf("%v allocations a request", allocations)
	}
}
