package credential

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	terminator  = "aws4_request"
	amzDateForm = "20060102T150405Z"

	maxAuthorization = 8 << 10  // bytes; SDKs send some 300
	maxToken         = 16 << 10 // bytes
	maxKeyID         = 128      // characters, as in IAM's AccessKeyMetadata
	maxScopePart     = 64       // characters
	maxSigned        = 64       // headers in SignedHeaders
	maxPairs         = 512      // parameters in a query
	maxExpires       = 604800   // seconds, a week, as in S3
	signatureLength  = 64       // hexadecimal digits

	// defaultExpires is for clients of STS, who leave it out: the window of a
	// request that is signed in its header.
	defaultExpires = "300" // seconds
)

// SignedHeaders is the list of the headers under a signature: lower case,
// sorted, separated by semicolons.
type SignedHeaders string

// Has tells whether the header is under the signature, whatever its case.
func (l SignedHeaders) Has(name string) bool {
	for part := range strings.SplitSeq(string(l), ";") {
		if equalFold(part, name) {
			return true
		}
	}
	return false
}

// claim is what a request says about its own signature. Nothing in it is
// proven before the signature matches.
type claim struct {
	keyID, day, region, service string
	signedHeaders               SignedHeaders
	signature                   string
	amzDate                     string // 20060102T150405Z
	at                          time.Time
	expires                     time.Duration // presigned only
	presigned                   bool
	hasToken                    bool
	token                       string // of temporary credentials
}

// readClaim finds the one signature of r, in its header or in its query.
func (s *scratch) readClaim(r *http.Request) (*claim, error) {
	if err := s.parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	authorization := headerValues(r.Header, "Authorization")
	c := &s.claim
	*c = claim{presigned: s.has(paramAlgorithm) || s.has(paramSignature) || s.has(paramCredential)}
	switch {
	case len(authorization) > 1:
		return nil, incomplete("the request has %d Authorization headers.", len(authorization))
	case len(authorization) == 1 && c.presigned:
		return nil, incomplete("the request has a signature in its Authorization header and another in its query.")
	case len(authorization) == 1:
		return c, c.readHeader(r.Header, authorization[0])
	case c.presigned:
		return c, s.readPresigned(r.Header)
	}
	return nil, refusal(CodeMissingAuthentication, "the request is not signed.").WithRemedy(remedyUseAnSDK)
}

func (c *claim) readHeader(h http.Header, authorization string) error {
	if err := c.parseAuthorization(authorization); err != nil {
		return err
	}
	if err := c.setToken(headerValues(h, paramToken)); err != nil {
		return err
	}
	name := "X-Amz-Date"
	dates := headerValues(h, name)
	if len(dates) == 0 {
		name = "Date"
		dates = headerValues(h, name)
	}
	if len(dates) != 1 {
		return incomplete("the request needs one X-Amz-Date or Date header, it has %d.", len(dates))
	}
	if !c.signedHeaders.Has(name) {
		return incomplete("the header %s is not under the signature.", name)
	}
	if name == "X-Amz-Date" {
		return c.setDate(dates[0])
	}
	// Clients without X-Amz-Date sign the same instant in the ISO form.
	at, err := http.ParseTime(dates[0])
	if err != nil {
		at, err = time.Parse(time.RFC1123Z, dates[0]) // botocore
	}
	if err != nil {
		return c.setDate(dates[0])
	}
	return c.setDate(at.UTC().Format(amzDateForm))
}

// parseAuthorization reads the value of an Authorization header.
func (c *claim) parseAuthorization(value string) error {
	if len(value) > maxAuthorization {
		return incomplete("the Authorization header is longer than %d bytes.", maxAuthorization)
	}
	name, rest, _ := strings.Cut(value, " ")
	if name != algorithm {
		return incomplete("the Authorization header begins with %q, not with %s.", clip(name), algorithm)
	}
	var credential, signed, signature string
	for part := range strings.SplitSeq(rest, ",") {
		key, val, ok := strings.Cut(strings.Trim(part, " "), "=")
		var field *string
		switch key {
		case "Credential":
			field = &credential
		case "SignedHeaders":
			field = &signed
		case "Signature":
			field = &signature
		}
		if !ok || field == nil || *field != "" || val == "" {
			return incomplete("the Authorization header must have Credential, SignedHeaders and Signature once each and nothing else.")
		}
		*field = val
	}
	return c.setParts(credential, signed, signature)
}

// setParts checks and takes the three parts that both forms have.
func (c *claim) setParts(credential, signed, signature string) error {
	if credential == "" || signed == "" || signature == "" {
		return incomplete("the signature needs Credential, SignedHeaders and Signature.")
	}
	if len(signature) != signatureLength || strings.Trim(signature, "0123456789abcdef") != "" {
		return incomplete("the Signature must be %d lower-case hexadecimal digits.", signatureLength)
	}
	c.signature = signature
	if err := c.setScope(credential); err != nil {
		return err
	}
	return c.setSigned(signed)
}

// setScope reads id/day/region/service/aws4_request.
func (c *claim) setScope(credential string) error {
	var end string
	parts := [...]*string{&c.keyID, &c.day, &c.region, &c.service, &end}
	rest, more := credential, true
	for _, p := range parts {
		if !more {
			break
		}
		*p, rest, more = strings.Cut(rest, "/")
	}
	switch {
	case more || end != terminator:
		return incomplete("the Credential must be ID/YYYYMMDD/REGION/SERVICE/%s.", terminator)
	case !isWord(c.keyID, maxKeyID):
		return incomplete("the access key id must be 1 to %d letters, digits and '_'.", maxKeyID)
	case len(c.day) != 8 || !isDigits(c.day):
		return incomplete("the date of the credential scope must be YYYYMMDD.")
	case !isLabel(c.region) || !isLabel(c.service):
		return incomplete("region and service of the credential scope must be 1 to %d of a-z, 0-9 and '-'.", maxScopePart)
	}
	return nil
}

// setSigned takes the list of signed headers if it is canonical (lower case,
// ascending, unique) and has host: a list with two spellings is ambiguous.
func (c *claim) setSigned(list string) error {
	count, previous, host := 0, "", false
	for name := range strings.SplitSeq(list, ";") {
		count++
		if !isLowerToken(name) || name <= previous || count > maxSigned {
			return incomplete("SignedHeaders must be at most %d lower-case names, ascending, each once, separated by ';'.", maxSigned)
		}
		host = host || name == "host"
		previous = name
	}
	if !host {
		return incomplete("the header host is not under the signature.")
	}
	c.signedHeaders = SignedHeaders(list)
	return nil
}

func (c *claim) setDate(text string) error {
	at, err := time.Parse(amzDateForm, text)
	if err != nil || len(text) != len(amzDateForm) {
		return incomplete("the request's date %q is not of the form YYYYMMDDThhmmssZ.", clip(text))
	}
	c.amzDate, c.at = text, at
	return nil
}

// The query parameters of presigned requests.
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSignedHeaders = "X-Amz-SignedHeaders"
	paramSignature     = "X-Amz-Signature"
	paramToken         = "X-Amz-Security-Token"
	paramContentSHA256 = "X-Amz-Content-Sha256"
)

func (s *scratch) readPresigned(h http.Header) error {
	c := &s.claim
	if err := s.presignedToken(h); err != nil {
		return err
	}
	var values [6]string
	for i, name := range [...]string{paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignedHeaders, paramSignature} {
		if name == paramExpires && !s.has(name) {
			values[i] = defaultExpires
			continue
		}
		v, err := s.param(name)
		if err != nil {
			return err
		}
		values[i] = v
	}
	if values[0] != algorithm {
		return incomplete("%s is %q, not %s.", paramAlgorithm, clip(values[0]), algorithm)
	}
	seconds, err := strconv.Atoi(values[3])
	if err != nil || seconds < 1 || seconds > maxExpires {
		return incomplete("%s must be a number of seconds from 1 to %d.", paramExpires, maxExpires)
	}
	c.expires = time.Duration(seconds) * time.Second
	if err := c.setDate(values[2]); err != nil {
		return err
	}
	return c.setParts(values[1], values[4], values[5])
}

// presignedToken takes the token of a presigned request, which is in its
// query and under its signature as every parameter is.
func (s *scratch) presignedToken(h http.Header) error {
	if len(headerValues(h, paramToken)) > 0 {
		return incomplete("a presigned request has its security token in the query, this one has it in a header.")
	}
	if !s.has(paramToken) {
		return nil
	}
	token, err := s.param(paramToken)
	if err != nil {
		return err
	}
	return s.claim.setToken([]string{token})
}

// setToken takes the security token, if there is one. That the header is
// under the signature is found out as for all x-amz-* headers.
func (c *claim) setToken(values []string) error {
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > maxToken {
		return incomplete("the request needs one %s of at most %d bytes.", paramToken, maxToken)
	}
	c.hasToken, c.token = true, values[0]
	return nil
}

// param gives the decoded value of a parameter that must be there once.
func (s *scratch) param(name string) (string, error) {
	value, count := "", 0
	for _, p := range s.pairs {
		if string(s.name(p)) == name {
			value, count = string(s.value(p)), count+1
		}
	}
	if count != 1 {
		return "", incomplete("a presigned query needs %s once, this one has it %d times.", name, count)
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", incomplete("%s is not percent-encoded properly.", name)
	}
	return decoded, nil
}
