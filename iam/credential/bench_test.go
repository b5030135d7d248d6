package credential_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/iam/credential"
)

// typicalInvoke is an invoke of the SDK for Go with a payload of 1 KB, as
// the server has read it.
func typicalInvoke(b *testing.B) (*http.Request, []byte) {
	m := message{
		url: "http://127.0.0.1:9600/2015-03-31/functions/hello/invocations", body: strings.Repeat("x", 1024), noContentSHA256: true,
		header: http.Header{
			"Content-Type": {"application/octet-stream"}, "Accept-Encoding": {"identity"},
			"Amz-Sdk-Invocation-Id": {"637df9ed-aaac-4286-ba3e-e0bd95224c0e"}, "Amz-Sdk-Request": {"attempt=1; max=3"},
			"User-Agent": {"aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26 md/GOOS#linux api/lambda#1.114.2"},
		},
	}
	return received(b, m.sign(b))
}

func BenchmarkVerifyInvoke1KB(b *testing.B) {
	v := newVerifier(signedAt)
	r, body := typicalInvoke(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyInvoke1KBParallel(b *testing.B) {
	v := newVerifier(signedAt)
	r, body := typicalInvoke(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Verify(r, body); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkVerifyARNPath(b *testing.B) {
	v := newVerifier(signedAt)
	r, body := received(b, message{url: "http://127.0.0.1:9600" + arnPath + "?Qualifier=%24LATEST", body: strings.Repeat("x", 1024)}.sign(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyUnknownKey(b *testing.B) {
	v := newVerifier(signedAt)
	r, body := typicalInvoke(b)
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIDEXAMPLE", "AKIDUNKNOWN", 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, body); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkIngress(b *testing.B) {
	r, _ := typicalInvoke(b)
	b.ReportAllocs()
	for b.Loop() {
		credential.Ingress(r.Header)
	}
}
