package credential_test

import (
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/iam/credential"
)

const suiteAuth = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="

// lines joins header lines into a request without a body.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// TestSigningSuite holds the figures of AWS's published signing test suite
// (aws-sig-v4-test-suite), as far as a request over HTTP/1.1 can have its
// form: requests with dot segments are refused here, and a '+' or a bare
// space in a query is a space.
func TestSigningSuite(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	const dated = "Host: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z"
	const unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for name, c := range map[string]struct{ start, more, signed, signature, body string }{
		"get-vanilla":                           {"GET /", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", ""},
		"get-vanilla-query":                     {"GET /?", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", ""},
		"get-vanilla-empty-query-key":           {"GET /?Param1=value1", "", "host;x-amz-date", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb", ""},
		"get-vanilla-query-order-key-case":      {"GET /?Param2=value2&Param1=value1", "", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", ""},
		"get-vanilla-query-unreserved":          {"GET /?" + unreserved + "=" + unreserved, "", "host;x-amz-date", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197", ""},
		"get-vanilla-utf8-query":                {"GET /?ሴ=bar", "", "host;x-amz-date", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04", ""},
		"get-utf8":                              {"GET /ሴ", "", "host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85", ""},
		"get-unreserved":                        {"GET /" + unreserved, "", "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f", ""},
		"get-header-key-duplicate":              {"GET /", "My-Header1: value2\r\nmy-header1: value2\r\nMY-HEADER1: value1", "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea", ""},
		"get-header-value-order":                {"GET /", "My-Header1: value4\r\nMy-Header1: value1\r\nMy-Header1: value3\r\nMy-Header1: value2", "host;my-header1;x-amz-date", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01", ""},
		"get-header-value-trim":                 {"GET /", "My-Header1:  value1\r\nMy-Header2: \"a   b   c\"", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", ""},
		"post-vanilla":                          {"POST /", "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", ""},
		"post-header-key-sort":                  {"POST /", "My-Header1: value1", "host;my-header1;x-amz-date", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c", ""},
		"post-header-value-case":                {"POST /", "My-Header1: VALUE1", "host;my-header1;x-amz-date", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d", ""},
		"post-vanilla-query":                    {"POST /?Param1=value1", "", "host;x-amz-date", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11", ""},
		"post-vanilla-query-nonunreserved":      {"POST /?%40%23%24%25%5E=&%2B=%2F%2C%3F%3E%3C%60%22%3B%3A%5C%7C%5D%5B%7B%7D", "", "host;x-amz-date", "66c82657c86e26fb25238d0e69f011edc4c6df5ae71119d7cb98ed9b87393c1e", ""},
		"post-x-www-form-urlencoded":            {"POST /", "Content-Length: 13\r\nContent-Type: application/x-www-form-urlencoded", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a", "Param1=value1"},
		"post-x-www-form-urlencoded-parameters": {"POST /", "Content-Length: 13\r\nContent-Type: application/x-www-form-urlencoded; charset=utf8", "content-type;host;x-amz-date", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe", "Param1=value1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := dated
			if c.more != "" {
				head += "\r\n" + c.more
			}
			r, body := parse(t, lines(c.start+" HTTP/1.1", head, "Authorization: "+suiteAuth+c.signed+", Signature="+c.signature)+c.body)
			if _, err := v.Verify(r, body); err != nil {
				t.Fatal(err)
			}
			_, err := v.Verify(r, append(body, '!'))
			wantCode(t, err, credential.CodeSignatureDoesNotMatch)
		})
	}
}

// TestS3Examples holds the figures of the examples in "Signature Calculations
// for the Authorization Header" and "Authenticating Requests: Using Query
// Parameters" of the S3 API Reference.
func TestS3Examples(t *testing.T) {
	t.Parallel()
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	const empty = "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	const auth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="
	const host, date = "Host: examplebucket.s3.amazonaws.com", "x-amz-date: 20130524T000000Z"
	v := credential.New(credential.Config{
		Region: "us-east-1", Services: []string{"s3"}, Now: func() time.Time { return at },
		Lookup: snapshot{"AKIAIOSFODNN7EXAMPLE": {ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Status: credential.Active}},
	})
	for name, wire := range map[string]string{
		"get object": lines("GET /test.txt HTTP/1.1", host, "Range: bytes=0-9", empty, date,
			auth+"host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
		"put object": lines("PUT /test$file.text HTTP/1.1", host, "Date: Fri, 24 May 2013 00:00:00 GMT", date, "Content-Length: 21",
			"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "x-amz-storage-class: REDUCED_REDUNDANCY",
			auth+"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd") + "Welcome to Amazon S3.",
		"get lifecycle": lines("GET /?lifecycle HTTP/1.1", host, empty, date,
			auth+"host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		"list objects": lines("GET /?max-keys=2&prefix=J HTTP/1.1", host, empty, date,
			auth+"host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
		"presigned": lines("GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"+
			"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1", host),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, body := parse(t, wire)
			if _, err := v.Verify(r, body); err != nil {
				t.Fatal(err)
			}
			r.Host = "otherbucket.s3.amazonaws.com"
			_, err := v.Verify(r, body)
			wantCode(t, err, credential.CodeSignatureDoesNotMatch)
		})
	}
}

const (
	botoAuth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"
	botoDate = "X-Amz-Date: 20150830T123600Z"
	botoTags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111111111111%3Afunction%3Ahello?tagKeys=b&tagKeys=a%2Fb"
)

func botoQuery(service string) string {
	return "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2F" + service +
		"%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature="
}

// TestBotocore holds requests as botocore 1.43.11 (boto3, AWS CLI 1.45.11)
// made them.
func TestBotocore(t *testing.T) {
	t.Parallel()
	v := newVerifier(signedAt)
	for name, wire := range map[string]string{
		"list": lines("GET /2015-03-31/functions/?Marker=a+b%2Bc%2F%2A~%27&MaxItems=5&FunctionVersion=ALL HTTP/1.1", "Host: 127.0.0.1:9600", botoDate,
			botoAuth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=f50067be2f1db5cab4dfe6775d64b57c231a4f06dd58a56c899c9a6206f42646"),
		"untag": lines("DELETE "+botoTags+" HTTP/1.1", "Host: 127.0.0.1:9600", botoDate, "Content-Length: 0",
			botoAuth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=20d064936405777080e30fbc10128dd950e08b7ec24ada52d85f9e1fcc9caf0e"),
		"s3 put": lines("PUT /bucket/a%20b/%E2%82%AC%2B%21 HTTP/1.1", "Host: localhost:9600", botoDate, "Content-Length: 4",
			"X-Amz-Content-SHA256: 3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",
			botoAuth+"s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=1281450552c927fdb46fccd31d87ded1bcdc43a8c3edf679f31153974f0af011") + "data",
		"date header": lines("GET /2015-03-31/functions/ HTTP/1.1", "Host: localhost:9600", "Date: Sun, 30 Aug 2015 12:36:00 -0000",
			botoAuth+"lambda/aws4_request, SignedHeaders=date;host, Signature=538ccdc03f6a33a0ea3ef3ba41b1fd5d46fa197af77756a48b580996cc44dc99"),
		"presigned lambda": lines("POST /2015-03-31/functions/hello/invocations?Qualifier=%24LATEST&"+botoQuery("lambda")+
			"264027be2b1c18017549078915bdb8d082426f05a4079d686bc26b4c518f80ff HTTP/1.1", "Host: localhost:9600", "Content-Length: 0"),
		"presigned s3 get": lines("GET /bucket/a%20b?versionId=1&"+botoQuery("s3")+
			"d5d2b4b66a28269ba89e16c6f1ec71fbb217d97f621f68e45ac0b8016a4809e8 HTTP/1.1", "Host: localhost:9600"),
		"presigned s3 put": lines("PUT /bucket/k?"+botoQuery("s3")+
			"ca3d95f474fdd2620d0cde324537e96b201a8a09149f44ea6bedb091655fc5de HTTP/1.1", "Host: localhost:9600", "Content-Length: 3") + "any",
		"presigned sts": lines("GET /?Action=GetCallerIdentity&Version=2011-06-15&"+botoQuery("sts")+
			"36a8f2401b3b7075021086d3bb229c5915de55bb186527492889359519d3671f HTTP/1.1", "Host: localhost:9600"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, body := parse(t, wire)
			credential.Ingress(r.Header)
			if _, err := v.Verify(r, body); err != nil {
				t.Fatal(err)
			}
			r.Method = "PATCH"
			_, err := v.Verify(r, body)
			wantCode(t, err, credential.CodeSignatureDoesNotMatch)
		})
	}
}

// TestRecordedCommands holds what the AWS CLI 1.45.11 and curl 7.88.1 sent.
// This curl signs the path and the query verbatim, and adds a Content-Type
// after it has signed.
func TestRecordedCommands(t *testing.T) {
	t.Parallel()
	v := credential.New(credential.Config{
		Region: "us-east-1", Services: []string{"lambda", "s3"},
		Now:    func() time.Time { return time.Date(2026, 11, 23, 8, 34, 30, 0, time.UTC) },
		Lookup: snapshot{"AKIDEXAMPLE": {ID: "AKIDEXAMPLE", Secret: "secret", Status: credential.Active}}, MaxSkew: 6 * time.Minute,
	})
	const auth = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/"
	const path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello/invocations"
	const host, form = "Host: 127.0.0.1:18999", "Content-Type: application/x-www-form-urlencoded"
	for name, wire := range map[string]string{
		"aws lambda invoke": lines("POST "+path+" HTTP/1.1", host, "Accept-Encoding: identity", "X-Amz-Date: 20261123T082933Z",
			auth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=72614c002cba1d6c620e8d7c06b88b069b32283b06fb43b997d77d80b98162d5",
			"amz-sdk-invocation-id: 637df9ed-aaac-4286-ba3e-e0bd95224c0e", "amz-sdk-request: attempt=1", "Content-Length: 8") + "{\"a\":1}\n",
		"curl arn, unsorted query": lines("POST "+path+"?b=2&a=1 HTTP/1.1", host,
			auth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=03010e712d465a28ae8482ff77a329cb9b31e61b03c13f09868dd08a84510966",
			"X-Amz-Date: 20261123T082933Z", "Accept: */*", "Content-Length: 7", form) + `{"a":1}`,
		"curl headers": lines("POST /2015-03-31/functions/hello/invocations HTTP/1.1", host,
			auth+"lambda/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-invocation-type;x-amz-tenant-id, Signature=68fcd485b5ca6139a11e7ab06214527523cdca7b9714cb9648f5c52fc7a9a37c",
			"X-Amz-Date: 20261123T082934Z", "Content-Type: application/json", "X-Amz-Invocation-Type: Event", "X-Amz-Tenant-Id: t  1", "Content-Length: 7") + `{"a":1}`,
		"curl list": lines("GET /2015-03-31/functions/?Marker=a%20b&MaxItems=5 HTTP/1.1", host,
			auth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=8d730762f7e1f83f48edeaf1cdf85b67c36167c2ddead55a20e44652fec09951", "X-Amz-Date: 20261123T082934Z"),
		"curl s3": lines("GET /bucket/a%20b HTTP/1.1", host,
			auth+"s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0601fdd238d84efd5e3fdd2f5c15a920c9215342f0413cc1f029bee29c482e08", "X-Amz-Date: 20261123T082934Z"),
		"curl odd query": lines("PUT /2015-03-31/tags?x&tagKeys=b&tagKeys=a&c=a*b%2A HTTP/1.1", host,
			auth+"lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=99672098eef5051b16f82b91f391c51cb41921b8ee689430aca86857fe8c01d5", "X-Amz-Date: 20261123T083948Z", "Content-Length: 0", form),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, body := parse(t, wire)
			credential.Ingress(r.Header)
			if _, err := v.Verify(r, body); err != nil {
				t.Fatal(err)
			}
			r.URL.RawQuery += "&Qualifier=1"
			_, err := v.Verify(r, body)
			wantCode(t, err, credential.CodeSignatureDoesNotMatch)
		})
	}
}
