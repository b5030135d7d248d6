package credential_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/credential"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	base := message{url: "http://localhost/f", body: "b"}
	for id, code := range map[string]string{
		"AKIDEXAMPLE": "", "AKIDGLOBEX": "",
		"AKIDINACTIVE": credential.CodeUnrecognizedClient, "AKIDSUSPENDED": credential.CodeAccessDenied,
		"AKIDNOSTATUS": credential.CodeUnrecognizedClient, "AKIDNOSECRET": credential.CodeUnrecognizedClient,
		"AKIDMISFILED": credential.CodeUnrecognizedClient, "AKIDUNKNOWN": credential.CodeUnrecognizedClient,
	} {
		m := base
		m.keyID = id
		_, err := verify(t, v, m.sign(t))
		if code == "" {
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			continue
		}
		wantCode(t, err, code)
		if id == "AKIDSUSPENDED" && !fault.Is(err, fault.Suspended) {
			t.Errorf("kind %s, want suspended", fault.KindOf(err))
		}
	}
	// Who does not hold the secret is not told that the tenant is suspended.
	m := base
	m.keyID = "AKIDSUSPENDED"
	r := m.sign(t)
	r.URL.Path += "x"
	_, err := verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	// A key id of one tenant with the secret of another.
	r = base.sign(t)
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIDEXAMPLE", "AKIDGLOBEX", 1))
	_, err = verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
}

// TestRotatedSecret shows that a signing key derived from a former secret is
// not used once the snapshot has another.
func TestRotatedSecret(t *testing.T) {
	t.Parallel()
	mine := snapshot{"AKIDEXAMPLE": keys["AKIDEXAMPLE"]}
	v := credential.New(credential.Config{Region: "us-east-1", Services: []string{"lambda"}, Lookup: mine, Now: func() time.Time { return signedAt }})
	r := message{url: "http://localhost/f"}.sign(t)
	if _, err := verify(t, v, r.Clone(t.Context())); err != nil {
		t.Fatal(err)
	}
	k := mine["AKIDEXAMPLE"]
	k.Secret = "rotated"
	mine["AKIDEXAMPLE"] = k
	_, err := verify(t, v, r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
}

func TestScope(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m      message
		region string
		code   string
		says   string
	}{
		"right":               {message{}, "us-east-1", "", ""},
		"other region":        {message{region: "eu-west-1"}, "us-east-1", credential.CodeSignatureDoesNotMatch, `"us-east-1"`},
		"other service":       {message{service: "dynamodb"}, "us-east-1", credential.CodeSignatureDoesNotMatch, "lambda"},
		"iam is global":       {message{service: "iam"}, "eu-west-1", "", ""},
		"iam here":            {message{service: "iam", region: "eu-west-1"}, "eu-west-1", "", ""},
		"iam elsewhere":       {message{service: "iam", region: "eu-west-2"}, "eu-west-1", credential.CodeSignatureDoesNotMatch, `"eu-west-1"`},
		"lambda is not":       {message{}, "eu-west-1", credential.CodeSignatureDoesNotMatch, `"eu-west-1"`},
		"lambda of eu-west-1": {message{region: "eu-west-1"}, "eu-west-1", "", ""},
	} {
		v := credential.New(credential.Config{Region: c.region, Services: []string{"lambda", "iam"}, Lookup: keys, Now: func() time.Time { return signedAt }})
		c.m.url = "http://localhost/f"
		_, err := verify(t, v, c.m.sign(t))
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantCode(t, err, c.code)
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q does not name %s", name, err, c.says)
		}
	}
}

func TestScopeDate(t *testing.T) {
	t.Parallel()
	r := message{url: "http://localhost/f"}.sign(t)
	editAuth("/20150830/", "/20150829/")(r)
	_, err := verify(t, newVerifier(signedAt), r)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	if !strings.Contains(err.Error(), "date of the credential scope") {
		t.Fatalf("%v does not say that the dates differ", err)
	}
}

// TestClockEdges is A18: what is valid at which second.
func TestClockEdges(t *testing.T) {
	t.Parallel()
	header := message{url: "http://localhost/f", body: "b"}
	presigned := message{url: "http://localhost/f?X-Amz-Expires=600", body: "b"}
	for _, c := range []struct {
		offset    time.Duration
		presigned bool
		code      string
	}{
		{0, false, ""},
		{5 * time.Minute, false, ""},
		{5*time.Minute + 1, false, credential.CodeRequestTimeTooSkewed},
		{-5 * time.Minute, false, ""},
		{-5*time.Minute - 1, false, credential.CodeRequestTimeTooSkewed},
		{24 * time.Hour, false, credential.CodeRequestTimeTooSkewed},
		{0, true, ""},
		{10 * time.Minute, true, ""},
		{10*time.Minute + 1, true, credential.CodeExpiredToken},
		{-5 * time.Minute, true, ""},
		{-5*time.Minute - 1, true, credential.CodeRequestTimeTooSkewed},
	} {
		v := newVerifier(signedAt.Add(c.offset))
		r := header.sign(t)
		if c.presigned {
			r = presigned.presign(t)
		}
		_, err := verify(t, v, r)
		if c.code == "" && err != nil {
			t.Errorf("at %v: %v", c.offset, err)
		}
		if c.code != "" {
			wantCode(t, err, c.code)
		}
	}
}

// TestReplay is A17: a captured request, verbatim, is valid inside its
// window and not after; with any part changed it is never valid.
func TestReplay(t *testing.T) {
	t.Parallel()
	m := message{
		method: "POST", url: "http://localhost:9600" + arnPath + "?Qualifier=1&n=2", body: `{"a":1}`,
		header: http.Header{"X-Amz-Tenant-Id": {"acme-1"}, "X-Amz-Invocation-Type": {"Event"}, "Content-Type": {"application/json"}},
	}
	captured := func() *http.Request { return m.sign(t) }
	inside, late := newVerifier(signedAt.Add(4*time.Minute)), newVerifier(signedAt.Add(6*time.Minute))
	for range 3 {
		if _, err := verify(t, inside, captured()); err != nil {
			t.Fatal("a verbatim replay inside the window:", err)
		}
	}
	_, err := verify(t, late, captured())
	wantCode(t, err, credential.CodeRequestTimeTooSkewed)

	setHeader := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	setPath := func(escaped string) func(*http.Request) {
		return func(r *http.Request) {
			r.URL.RawPath = escaped
			r.URL.Path, _ = url.PathUnescape(escaped)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"method":            func(r *http.Request) { r.Method = "PUT" },
		"path":              setPath(strings.Replace(arnPath, "hello", "other", 1)),
		"path encoded more": setPath(strings.ReplaceAll(arnPath, "%", "%25")),
		"path slash":        setPath(arnPath + "/"),
		"path account":      setPath(strings.Replace(arnPath, "111111111111", "222222222222", 1)),
		"query value":       func(r *http.Request) { r.URL.RawQuery = "Qualifier=2&n=2" },
		"query added":       func(r *http.Request) { r.URL.RawQuery += "&m=1" },
		"query removed":     func(r *http.Request) { r.URL.RawQuery = "Qualifier=1" },
		"query doubled":     func(r *http.Request) { r.URL.RawQuery += "&n=2" },
		"host":              func(r *http.Request) { r.Host = "other:9600" },
		"tenant":            setHeader("X-Amz-Tenant-Id", "globex"),
		"tenant removed":    func(r *http.Request) { r.Header.Del("X-Amz-Tenant-Id") },
		"tenant doubled":    func(r *http.Request) { r.Header.Add("X-Amz-Tenant-Id", "acme-1") },
		"invocation type":   setHeader("X-Amz-Invocation-Type", "DryRun"),
		"new x-amz header":  setHeader("X-Amz-Log-Type", "Tail"),
		"content type":      setHeader("Content-Type", "text/plain"),
		"no content type":   func(r *http.Request) { r.Header.Del("Content-Type") },
		"date":              setHeader("X-Amz-Date", "20150830T123601Z"),
		"payload hash":      setHeader("X-Amz-Content-Sha256", hexSHA256("other")),
		"unsigned payload":  setHeader("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
		"key":               editAuth("AKIDEXAMPLE", "AKIDGLOBEX"),
		"scope's date":      editAuth("/20150830/", "/20150831/"),
		"scope's region":    editAuth("/us-east-1/", "/us-east-2/"),
		"scope's service":   editAuth("/lambda/", "/s3/"),
		"fewer signed":      editAuth(";x-amz-tenant-id", ""),
		"more signed":       editAuth("host;", "host;user-agent;"),
		"token":             setHeader("X-Amz-Security-Token", "t"),
	} {
		r := captured()
		change(r)
		if _, err := verify(t, inside, r); err == nil {
			t.Errorf("%s: changed and accepted", name)
		}
	}
	r, _ := received(t, captured())
	credential.Ingress(r.Header)
	if _, err := inside.Verify(r, []byte(`{"a":2}`)); err == nil {
		t.Error("body: changed and accepted")
	}
}

// TestEveryDigit changes one digit of a signature at a time.
func TestEveryDigit(t *testing.T) {
	t.Parallel()
	inside := newVerifier(signedAt)
	captured := func() *http.Request { return message{url: "http://localhost/f", body: "b"}.sign(t) }
	signature := captured().Header.Get("Authorization")
	for i := len(signature) - 64; i < len(signature); i++ {
		r := captured()
		r.Header.Set("Authorization", signature[:i]+flip(signature[i])+signature[i+1:])
		if _, err := verify(t, inside, r); err == nil {
			t.Errorf("digit %d of the signature: changed and accepted", i)
		}
	}
}

func editAuth(old, replacement string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, replacement, 1))
	}
}

func flip(digit byte) string {
	if digit == '0' {
		return "1"
	}
	return "0"
}

// TestOneSignatureOneMeaning tries the spellings of a path that clients sign
// against each other: no signature of one path may hold for another.
func TestOneSignatureOneMeaning(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	paths := []string{"/a%20b", "/a%2520b", "/a%252520b", "/a%2Fb", "/a/b", "/a%252Fb", "/a:b", "/a%3Ab", "/a%253Ab", "/a+b", "/a%2Bb", "/a%252Bb"}
	same := map[string]string{"/a%3Ab": "/a:b", "/a%2Bb": "/a+b"} // two spellings of one path
	meaning := func(p string) string {
		if s, ok := same[p]; ok {
			return s
		}
		return p
	}
	for _, service := range []string{"lambda", "s3"} {
		for _, signed := range paths {
			for _, sent := range paths {
				r := message{method: "GET", service: service, url: "http://localhost" + signed}.sign(t)
				r.URL.RawPath = sent
				r.URL.Path, _ = url.PathUnescape(sent)
				_, err := verify(t, v, r)
				if signed == sent && err != nil {
					t.Errorf("%s %s: %v", service, signed, err)
				}
				if err == nil && meaning(signed) != meaning(sent) {
					t.Errorf("%s: the signature of %s holds for %s", service, signed, sent)
				}
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	m := message{url: "http://localhost/f", body: "b"}
	good := m.sign(t).Header.Get("Authorization")
	_, signature, _ := strings.Cut(good, "Signature=")
	const scope, names = "AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request", "host;x-amz-date"
	auth := func(credential, signed, signature string) string {
		return "AWS4-HMAC-SHA256 Credential=" + credential + ", SignedHeaders=" + signed + ", Signature=" + signature
	}
	for name, value := range map[string]string{
		"empty":               "",
		"basic":               "Basic YWNtZTpzZWNyZXQ=",
		"bearer":              "Bearer abc",
		"lower algorithm":     strings.Replace(good, "AWS4-HMAC", "aws4-hmac", 1),
		"sigv4a":              strings.Replace(good, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", 1),
		"sha1":                strings.Replace(good, "SHA256", "SHA1", 1),
		"algorithm only":      "AWS4-HMAC-SHA256",
		"no credential":       "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + signature,
		"no signed headers":   "AWS4-HMAC-SHA256 Credential=" + scope + ", Signature=" + signature,
		"no signature":        "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=" + names,
		"twice":               good + ", Signature=" + signature,
		"unknown part":        good + ", Extra=1",
		"trailing comma":      good + ",",
		"short signature":     good[:len(good)-1],
		"upper signature":     auth(scope, names, strings.Repeat("A", 64)),
		"not hex":             auth(scope, names, strings.Repeat("g", 64)),
		"four parts":          auth("AKIDEXAMPLE/20150830/us-east-1/lambda", names, signature),
		"six parts":           auth(scope+"/more", names, signature),
		"other end":           auth("AKIDEXAMPLE/20150830/us-east-1/lambda/aws3_request", names, signature),
		"empty key":           auth("/20150830/us-east-1/lambda/aws4_request", names, signature),
		"odd key":             auth("AKID*/20150830/us-east-1/lambda/aws4_request", names, signature),
		"long key":            auth(strings.Repeat("A", 129)+"/20150830/us-east-1/lambda/aws4_request", names, signature),
		"long date":           auth("AKIDEXAMPLE/201508300/us-east-1/lambda/aws4_request", names, signature),
		"no host":             auth(scope, "x-amz-date", signature),
		"unsorted":            auth(scope, "x-amz-date;host", signature),
		"doubled":             auth(scope, "host;host;x-amz-date", signature),
		"upper case":          auth(scope, "Host;x-amz-date", signature),
		"empty name":          auth(scope, ";host;x-amz-date", signature),
		"newline in name":     auth(scope, "ho\nst;host;x-amz-date", signature),
		"date not signed":     auth(scope, "host", signature),
		"too many headers":    auth(scope, manyNames(65)+";host;x-amz-date", signature),
		"too long":            good + strings.Repeat(" ", 9000),
		"region with newline": auth("AKIDEXAMPLE/20150830/us\neast/lambda/aws4_request", names, signature),
	} {
		r := m.request(t)
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		r.Header.Set("Authorization", value)
		_, err := v.Verify(r, []byte("b"))
		if got := codeOf(err); got != credential.CodeIncompleteSignature {
			t.Errorf("%s: code %q (%v)", name, got, err)
		}
	}
	_, err := v.Verify(m.request(t), []byte("b"))
	wantCode(t, err, credential.CodeMissingAuthentication)
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "a" + string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}

func TestDates(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	for _, dates := range [][]string{
		nil, {""}, {"20150830T123600"}, {"20150830T123600z"}, {"2015-08-30T12:36:00Z"}, {"20150230T123600Z"}, {"20150830T123600.5Z"},
		{"20150830T123600Z", "20150830T123600Z"},
	} {
		r := message{url: "http://localhost/f"}.sign(t)
		r.Header["X-Amz-Date"] = dates
		if len(dates) == 0 {
			delete(r.Header, "X-Amz-Date")
		}
		_, err := v.Verify(r, nil)
		wantCode(t, err, credential.CodeIncompleteSignature)
	}
}

func TestPayloadHash(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	s3 := message{service: "s3", method: "PUT", url: "http://localhost/bucket/k", body: "data"}
	for hash, says := range map[string]string{
		"UNSIGNED-PAYLOAD": "payload is not under the signature", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": "in chunks",
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER": "in chunks", hexSHA256("other"): "not the SHA-256",
		strings.ToUpper(hexSHA256("data")): "not the SHA-256", "-": "not the SHA-256",
	} {
		for _, service := range []string{"s3", "lambda"} {
			m := s3
			m.service, m.payloadHash = service, hash
			_, err := verify(t, v, m.sign(t))
			if got := codeOf(err); got != credential.CodeSignatureDoesNotMatch || !strings.Contains(err.Error(), says) {
				t.Errorf("%s %s: code %q (%v)", service, hash, got, err)
			}
		}
	}
	presigned := s3
	presigned.url += "?X-Amz-Expires=60"
	presigned.payloadHash = "UNSIGNED-PAYLOAD"
	if _, err := verify(t, v, presigned.presign(t)); err != nil {
		t.Error("presigned s3:", err)
	}
	presigned.header = http.Header{"X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}
	if _, err := verify(t, v, presigned.presign(t)); err != nil {
		t.Error("presigned s3 with the header:", err)
	}
	presigned.header = http.Header{"X-Amz-Content-Sha256": {hexSHA256("other")}}
	presigned.payloadHash = hexSHA256("other")
	_, err := verify(t, v, presigned.presign(t))
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	presigned.header = nil
	presigned.url += "&X-Amz-Content-Sha256=" + hexSHA256("other")
	_, err = verify(t, v, presigned.presign(t))
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	lambda := message{url: "http://localhost/f?X-Amz-Expires=60", body: "b", payloadHash: "UNSIGNED-PAYLOAD"}
	_, err = verify(t, v, lambda.presign(t))
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
}

func TestPresignedRefusals(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	m := message{url: "http://localhost/f?X-Amz-Expires=60"}
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for name, c := range map[string]struct {
		change func(url.Values)
		code   string
	}{
		"as signed":       {func(url.Values) {}, ""},
		"no expiry":       {func(q url.Values) { q.Del("X-Amz-Expires") }, credential.CodeSignatureDoesNotMatch},
		"zero":            {set("X-Amz-Expires", "0"), credential.CodeIncompleteSignature},
		"negative":        {set("X-Amz-Expires", "-5"), credential.CodeIncompleteSignature},
		"over a week":     {set("X-Amz-Expires", "604801"), credential.CodeIncompleteSignature},
		"not a number":    {set("X-Amz-Expires", "1h"), credential.CodeIncompleteSignature},
		"huge":            {set("X-Amz-Expires", "99999999999999999999"), credential.CodeIncompleteSignature},
		"longer":          {set("X-Amz-Expires", "61"), credential.CodeSignatureDoesNotMatch},
		"expiry twice":    {func(q url.Values) { q.Add("X-Amz-Expires", "600") }, credential.CodeIncompleteSignature},
		"signature twice": {func(q url.Values) { q.Add("X-Amz-Signature", "0") }, credential.CodeIncompleteSignature},
		"no signature":    {func(q url.Values) { q.Del("X-Amz-Signature") }, credential.CodeIncompleteSignature},
		"no algorithm":    {func(q url.Values) { q.Del("X-Amz-Algorithm") }, credential.CodeIncompleteSignature},
		"other algorithm": {set("X-Amz-Algorithm", "AWS4-HMAC-SHA1"), credential.CodeIncompleteSignature},
		"other key":       {set("X-Amz-Credential", "AKIDGLOBEX/20150830/us-east-1/lambda/aws4_request"), credential.CodeSignatureDoesNotMatch},
		"unknown key":     {set("X-Amz-Credential", "AKIDUNKNOWN/20150830/us-east-1/lambda/aws4_request"), credential.CodeUnrecognizedClient},
		"other day":       {set("X-Amz-Credential", "AKIDEXAMPLE/20150829/us-east-1/lambda/aws4_request"), credential.CodeSignatureDoesNotMatch},
		"token":           {set("X-Amz-Security-Token", "t"), credential.CodeUnrecognizedClient},
		"more":            {set("FunctionName", "other"), credential.CodeSignatureDoesNotMatch},
	} {
		r := m.presign(t)
		q := r.URL.Query()
		c.change(q)
		r.URL.RawQuery = q.Encode()
		_, err := verify(t, v, r)
		if got := codeOf(err); got != c.code || c.code == "" && err != nil {
			t.Errorf("%s: code %q (%v), want %q", name, got, err, c.code)
		}
	}
	both := m.presign(t)
	both.Header.Set("Authorization", "AWS4-HMAC-SHA256 x")
	_, err := verify(t, v, both)
	wantCode(t, err, credential.CodeIncompleteSignature)
	unsigned := m.presign(t)
	unsigned.Header.Set("X-Amz-Tenant-Id", "globex")
	_, err = verify(t, v, unsigned)
	wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	odd := m.presign(t)
	odd.URL.RawQuery += ";a=b"
	_, err = verify(t, v, odd)
	wantCode(t, err, credential.CodeIncompleteSignature)
	many := m.presign(t)
	many.URL.RawQuery += strings.Repeat("&a", 600)
	_, err = verify(t, v, many)
	wantCode(t, err, credential.CodeIncompleteSignature)
}

// TestOneSignature refuses requests with two signatures, valid or not.
func TestOneSignature(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	r := message{url: "http://localhost/f"}.sign(t)
	r.Header.Add("Authorization", r.Header.Get("Authorization"))
	_, err := verify(t, v, r)
	wantCode(t, err, credential.CodeIncompleteSignature)
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"} {
		_, err = verify(t, v, message{url: "http://localhost/f?" + name + "=x"}.sign(t))
		wantCode(t, err, credential.CodeIncompleteSignature)
	}
}

// TestSessionToken signs with temporary credentials as an SDK does: the
// signature is right, and no session is known.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	m := message{url: "http://localhost/f", header: http.Header{"X-Amz-Security-Token": {"AQoDYXdzEPT"}}}
	_, err := verify(t, v, m.sign(t))
	wantCode(t, err, credential.CodeUnrecognizedClient)
	m.url += "?X-Amz-Expires=60"
	_, err = verify(t, v, m.presign(t)) // the SDK moves the header into the query
	wantCode(t, err, credential.CodeUnrecognizedClient)
}

// TestSameUnderSignature sends what has the same canonical form as what was
// signed and would be read differently.
func TestSameUnderSignature(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	semicolon := message{method: "GET", url: "http://localhost/f?a=1%3Bb"}.sign(t)
	if _, err := verify(t, v, semicolon); err != nil {
		t.Fatal(err)
	}
	semicolon.URL.RawQuery = "a=1;b" // net/url drops the parameter
	_, err := verify(t, v, semicolon)
	wantCode(t, err, credential.CodeIncompleteSignature)

	split := message{url: "http://localhost/f", header: http.Header{"X-Amz-Tenant-Id": {"acme,globex"}}}.sign(t)
	if _, err := verify(t, v, split); err != nil {
		t.Fatal(err)
	}
	split.Header["X-Amz-Tenant-Id"] = []string{"acme", "globex"} // read as the first
	_, err = verify(t, v, split)
	wantCode(t, err, credential.CodeIncompleteSignature)

	r := message{url: "http://localhost/f", header: http.Header{"X-Note": {"a"}}}.sign(t)
	r.Header["x-note"] = []string{"evil"} // one of the two is verified, the other may be read
	for range 50 {                        // the order of a map is random
		_, err := v.Verify(r, nil)
		wantCode(t, err, credential.CodeIncompleteSignature)
	}
}

// TestSpellings gives Verify header maps that net/http would not make.
func TestSpellings(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	for name, key := range map[string]string{
		"lower": "x-amz-tenant-id", "underscore": "X_Amz_Tenant_Id", "mixed": "x-AMZ_tenant-id", "dots": "x.amz.tenant-id",
		"second authorization": "authorization", "second date": "x-amz-date", "content type": "content-type",
	} {
		r := message{url: "http://localhost/f"}.sign(t)
		if _, err := v.Verify(r, nil); err != nil {
			t.Fatal(err)
		}
		r.Header[key] = []string{"evil"}
		if _, err := v.Verify(r, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDotSegments(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	for _, path := range []string{"/a/../b", "/a/./b", "/..", "/a/%2e%2E/b", "/a/.%2e"} {
		_, err := verify(t, v, message{method: "GET", url: "http://localhost" + path}.sign(t))
		wantCode(t, err, credential.CodeSignatureDoesNotMatch)
	}
	for _, path := range []string{"/a/...", "/a/.b", "/a../b"} {
		if _, err := verify(t, v, message{method: "GET", url: "http://localhost" + path}.sign(t)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
