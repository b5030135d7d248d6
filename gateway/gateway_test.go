package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, name+" "+r.Header.Get("X-Forwarded-For"))
	})
}

func TestRequestsGoToTheServiceTheyAreSignedFor(t *testing.T) {
	why := ""
	h := New(Config{Lambda: named("lambda"), Admin: named("admin"), IAM: named("iam"), STS: named("sts"), Ready: func() string { return why }})
	scope := func(service string) map[string]string {
		return map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/" + service + "/aws4_request, SignedHeaders=host, Signature=0"}
	}
	for name, tt := range map[string]struct {
		path   string
		header map[string]string
		want   string
	}{
		"lambda":                      {"/2015-03-31/functions", scope("lambda"), "lambda "},
		"admin":                       {"/v1/tenants", scope("carrel"), "admin "},
		"admin by scope, lambda path": {"/2015-03-31/functions", scope("carrel"), "admin "},
		"lambda by scope, admin path": {"/v1/tenants", scope("lambda"), "lambda "},
		"unsigned lambda":             {"/2015-03-31/functions", nil, "lambda "},
		"iam":                         {"/", scope("iam"), "iam "},
		"sts":                         {"/", scope("sts"), "sts "},
		"unsigned query":              {"/?Action=AssumeRoleWithWebIdentity", nil, "sts "},
		"unsigned query of IAM":       {"/?Action=ListUsers&Version=2010-05-08", nil, "iam "},
		"query for another service":   {"/?Action=ListUsers&Version=2010-05-08", scope("ec2"), "iam "},
		"query with a broken scope":   {"/?Action=GetCallerIdentity&Version=2011-06-15", map[string]string{"Authorization": "Credential=a/b"}, "sts "},
		"another service":             {"/2015-03-31/functions", scope("ec2"), "lambda "},
		"unsigned admin":              {"/v1/openapi.json", nil, "admin "},
		"presigned":                   {"/x?X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fcarrel%2Faws4_request", nil, "admin "},
		"a forwarded header is gone":  {"/x", map[string]string{"X-Forwarded-For": "6.6.6.6"}, "lambda "},
		"a malformed scope":           {"/x", map[string]string{"Authorization": "Credential=a/b"}, "lambda "},
		"health":                      {"/healthz", nil, "ok\n"},
		"ready":                       {"/readyz", nil, "ready\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Body.String() != tt.want {
				t.Errorf("answered by %q, want %q", w.Body, tt.want)
			}
		})
	}
	why = "starting"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("a node that is starting answers %d", w.Code)
	}
}

func TestCertificateIsReadAgainWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	now := time.Now()
	writePair(t, certFile, keyFile, 1, now)
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.now, c.checked = func() time.Time { return now }, now
	serial := func() int64 {
		t.Helper()
		pair, err := c.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	writePair(t, certFile, keyFile, 2, now.Add(time.Minute))
	if got := serial(); got != 1 {
		t.Errorf("serial %d before it was time to look, want 1", got)
	}
	now = now.Add(certificateCheck)
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the change, want 2", got)
	}
	if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(certificateCheck)
	if got := serial(); got != 2 {
		t.Errorf("serial %d with a broken key file, want the old one, 2", got)
	}
}

func writePair(t *testing.T, certFile, keyFile string, serial int64, stamp time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "carrel"}, NotAfter: stamp.Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
}
