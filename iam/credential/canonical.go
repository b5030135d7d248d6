package credential

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	keepBuffer      = 64 << 10 // bytes; a larger buffer is not kept for the next request
)

// pair is a query parameter: where its encoded name and value lie in
// scratch.query.
type pair struct{ from, equals, to int }

// scratch is the memory that verifying one request needs, reused.
type scratch struct {
	claim    claim
	query    []byte // names and values, encoded, in order of arrival
	pairs    []pair // into query, sorted
	names    []string
	values   [][]string // of the header names[i]
	host     [1]string
	length   [1]string
	payload  []byte
	sorted   []byte // the canonical query
	paths    [3][]byte
	rawQuery string
	canon    []byte
	toSign   []byte
	sum      []byte
	hexSum   []byte
	claimed  [signatureLength]byte
}

func newScratch() *scratch {
	return &scratch{
		query: make([]byte, 0, 256), pairs: make([]pair, 0, 16),
		names: make([]string, 0, maxSigned), values: make([][]string, maxSigned),
		payload: make([]byte, 0, sha256.Size*2), canon: make([]byte, 0, 1024), toSign: make([]byte, 0, 256),
		sum: make([]byte, 0, sha256.Size), hexSum: make([]byte, 0, sha256.Size*2),
	}
}

// release forgets the request and gives the memory back.
func (v *Verifier) release(s *scratch) {
	s.claim, s.rawQuery = claim{}, ""
	s.host[0], s.length[0] = "", ""
	clear(s.names)
	clear(s.values)
	if cap(s.query)+cap(s.sorted)+cap(s.canon)+cap(s.paths[0])+cap(s.paths[1])+cap(s.paths[2]) <= keepBuffer {
		v.scratch.Put(s)
	}
}

func (s *scratch) name(p pair) []byte  { return s.query[p.from:p.equals] }
func (s *scratch) value(p pair) []byte { return s.query[p.equals:p.to] }

func (s *scratch) has(name string) bool {
	for _, p := range s.pairs {
		if string(s.name(p)) == name {
			return true
		}
	}
	return false
}

// parseQuery encodes every parameter canonically and sorts them: by encoded
// name, then by encoded value. It reads the query as net/url does ('+' is a
// space, empty pairs are nothing) and refuses what net/url would drop (a bare
// ';', a broken escape), so that nothing is verified in another meaning than
// the handlers see.
func (s *scratch) parseQuery(raw string) error {
	s.rawQuery = raw
	s.query, s.pairs, s.sorted = s.query[:0], s.pairs[:0], s.sorted[:0]
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := pair{from: len(s.query)}
		ok := s.encodeComponent(name)
		p.equals = len(s.query)
		ok = s.encodeComponent(value) && ok
		p.to = len(s.query)
		if !ok {
			return incomplete("the query has a bare ';' or a broken percent-encoding.")
		}
		if s.pairs = append(s.pairs, p); len(s.pairs) > maxPairs {
			return incomplete("the query has more than %d parameters.", maxPairs)
		}
	}
	slices.SortFunc(s.pairs, func(a, b pair) int {
		if c := bytes.Compare(s.name(a), s.name(b)); c != 0 {
			return c
		}
		return bytes.Compare(s.value(a), s.value(b))
	})
	for _, p := range s.pairs {
		if string(s.name(p)) == paramSignature {
			continue // the one parameter that cannot be under itself
		}
		if len(s.sorted) > 0 {
			s.sorted = append(s.sorted, '&')
		}
		s.sorted = append(s.sorted, s.name(p)...)
		s.sorted = append(s.sorted, '=')
		s.sorted = append(s.sorted, s.value(p)...)
	}
	return nil
}

// encodeComponent appends one name or value to s.query.
func (s *scratch) encodeComponent(raw string) bool {
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		switch b {
		case ';':
			return false
		case '+':
			b = ' '
		case '%':
			if i+2 >= len(raw) {
				return false
			}
			high, ok1 := unhex(raw[i+1])
			low, ok2 := unhex(raw[i+2])
			if !ok1 || !ok2 {
				return false
			}
			b, i = high<<4|low, i+2
		}
		s.query = appendEncoded(s.query, b)
	}
	return true
}

// collectHeaders finds the values of the signed headers and refuses what
// must be signed and is not.
func (s *scratch) collectHeaders(r *http.Request, c *claim) error {
	s.names = s.names[:0]
	for name := range strings.SplitSeq(string(c.signedHeaders), ";") {
		s.names = append(s.names, name)
	}
	for key, values := range r.Header {
		if err := s.takeHeader(key, values); err != nil {
			return err
		}
	}
	for i, name := range s.names {
		switch {
		case name == "host": // net/http keeps it out of the map
			s.host[0] = r.Host
			s.values[i] = s.host[:]
		case len(s.values[i]) > 0:
		case name == "content-length" && r.ContentLength >= 0:
			s.length[0] = strconv.FormatInt(r.ContentLength, 10)
			s.values[i] = s.length[:]
		default:
			return refusal(CodeSignatureDoesNotMatch, "the header %q is under the signature and did not arrive.", clip(name)).
				WithRemedy("Do not sign hop-by-hop and forwarding headers, and send every header that is signed.")
		}
	}
	return nil
}

func (s *scratch) takeHeader(key string, values []string) error {
	amz := isAmz(key)
	if amz && len(values) > 1 && s.claim.service != serviceS3 {
		// Signed as one value joined by commas, read as the first: refused,
		// because a signature cannot tell the two apart.
		return incomplete("the header %q was sent %d times.", clip(key), len(values)).WithRemedy(remedyOneValue)
	}
	for i, name := range s.names {
		if !equalFold(name, key) {
			continue
		}
		if s.values[i] != nil {
			return incomplete("the header %q was sent in two spellings.", clip(key)).WithRemedy(remedyOneValue)
		}
		s.values[i] = values
		return nil
	}
	if amz {
		return refusal(CodeSignatureDoesNotMatch, "the header %q is not under the signature.", clip(key)).
			WithRemedy(remedySignEveryAmzHeader)
	}
	if equalFold(key, "Content-Type") && !isCurlsDefault(values) {
		return refusal(CodeSignatureDoesNotMatch, "the header Content-Type is not under the signature.").
			WithRemedy("Put content-type into SignedHeaders or leave the header out.")
	}
	return nil
}

// isCurlsDefault knows the one Content-Type that may stand outside a
// signature: curl -d adds it after it has signed, and AWS lets it pass.
func isCurlsDefault(values []string) bool {
	return len(values) == 1 && values[0] == "application/x-www-form-urlencoded"
}

// hashPayload finds what stands for the payload in the canonical request and
// checks that it is the payload that was received.
func (s *scratch) hashPayload(c *claim, body []byte) error {
	sum := sha256.Sum256(body)
	s.payload = hex.AppendEncode(s.payload[:0], sum[:])
	mayBeUnsigned := c.presigned && c.service == serviceS3
	declared, ok, err := s.declaredPayload(c)
	switch {
	case err != nil:
		return err
	case !ok && mayBeUnsigned, declared == unsignedPayload && mayBeUnsigned:
		s.payload = append(s.payload[:0], unsignedPayload...)
	case !ok || declared == string(s.payload):
	case declared == unsignedPayload:
		return refusal(CodeSignatureDoesNotMatch, "the payload is not under the signature; that is accepted only for presigned requests to s3.").
			WithRemedy(remedyWholePayloadHash)
	case strings.HasPrefix(declared, "STREAMING-"):
		return refusal(CodeSignatureDoesNotMatch, "payloads signed in chunks (%q) are not accepted.", clip(declared)).
			WithRemedy(remedyWholePayloadHash)
	default:
		return refusal(CodeSignatureDoesNotMatch, "x-amz-content-sha256 is not the SHA-256 of the payload that arrived.").
			WithRemedy(remedyWholePayloadHash)
	}
	return nil
}

// declaredPayload gives the value of x-amz-content-sha256, of the header or,
// if presigned, of the parameter that SDKs make of it.
func (s *scratch) declaredPayload(c *claim) (string, bool, error) {
	for i, name := range s.names {
		if name == "x-amz-content-sha256" {
			if len(s.values[i]) != 1 {
				return "", false, incomplete("x-amz-content-sha256 was sent %d times.", len(s.values[i])).WithRemedy(remedyOneValue)
			}
			return s.values[i][0], true, nil
		}
	}
	if c.presigned && s.has(paramContentSHA256) {
		value, err := s.param(paramContentSHA256)
		return value, true, err
	}
	return "", false, nil
}

// preparePath makes the spellings of the path that clients sign. AWS encodes
// the path as sent once more, for S3 it does not; curl before 8 signs the
// path and the query verbatim. Trying several is safe as long as one
// signature cannot hold for two meanings: a spelling that was not encoded
// once more is tried for other services only if the path has no %25, because
// "/a%2520b" verbatim is what "/a%20b" becomes when it is encoded once more.
// The slash is never decoded.
func (s *scratch) preparePath(r *http.Request, c *claim) error {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	for i := range s.paths {
		s.paths[i] = s.paths[i][:0]
	}
	if c.service == serviceS3 {
		s.paths[1] = appendOnce(s.paths[1], path)
	} else {
		if hasDotSegment(r.URL.Path) {
			return refusal(CodeSignatureDoesNotMatch, "the path has a segment '.' or '..', which clients and proxies resolve in different ways.").
				WithRemedy("Send the resolved path.")
		}
		s.paths[0] = appendTwice(s.paths[0], path)
		if strings.Contains(path, "%25") {
			return nil
		}
		s.paths[1] = appendOnce(s.paths[1], path)
	}
	s.paths[2] = append(s.paths[2], path...)
	return nil
}

func hasDotSegment(path string) bool {
	if !strings.Contains(path, "/.") {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// appendTwice encodes the path as sent once more, as AWS does but for S3.
func appendTwice(dst []byte, path string) []byte {
	for i := range len(path) {
		if path[i] == '/' {
			dst = append(dst, '/')
		} else {
			dst = appendEncoded(dst, path[i])
		}
	}
	return dst
}

// appendOnce gives the path with exactly what SigV4 encodes encoded, as AWS
// does for S3. A broken escape cannot come from EscapedPath.
func appendOnce(dst []byte, path string) []byte {
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '/' {
			dst = append(dst, b)
			continue
		}
		if b == '%' && i+2 < len(path) {
			high, _ := unhex(path[i+1])
			low, _ := unhex(path[i+2])
			b, i = high<<4|low, i+2
		}
		dst = appendEncoded(dst, b)
	}
	return dst
}

// matches tells whether the signature is that of the request, in one of its
// spellings.
func (s *scratch) matches(k *signer, method string, c *claim) bool {
	copy(s.claimed[:], c.signature)
	for i, path := range s.paths {
		if len(path) == 0 || i > 0 && bytes.Equal(path, s.paths[i-1]) && i != verbatim {
			continue
		}
		query := s.sorted
		if i == verbatim {
			same := c.presigned || string(s.sorted) == s.rawQuery
			if same && bytes.Equal(path, s.paths[1]) {
				continue
			}
			if !same {
				query = append(s.query[:0], s.rawQuery...)
			}
		}
		s.buildCanonical(method, path, query)
		s.buildStringToSign(c)
		s.sum = k.sign(s.sum[:0], s.toSign)
		s.hexSum = hex.AppendEncode(s.hexSum[:0], s.sum)
		if subtle.ConstantTimeCompare(s.hexSum, s.claimed[:]) == 1 {
			return true
		}
	}
	return false
}

// verbatim is the spelling of path and query exactly as sent.
const verbatim = 2

func (s *scratch) buildCanonical(method string, path, query []byte) {
	b := append(s.canon[:0], method...)
	b = append(b, '\n')
	b = append(b, path...)
	b = append(b, '\n')
	b = append(b, query...)
	b = append(b, '\n')
	for i, name := range s.names {
		b = append(b, name...)
		b = append(b, ':')
		for j, value := range s.values[i] {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendTrimmed(b, value)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, s.claim.signedHeaders...)
	b = append(b, '\n')
	s.canon = append(b, s.payload...)
}

// appendTrimmed appends a header's value without outer white space and with
// inner runs of spaces made one. Only ASCII is trimmed: net/http trims no
// more, so no more may be equal under a signature.
func appendTrimmed(dst []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' {
			dst = append(dst, value[i])
		}
	}
	return dst
}

func (s *scratch) buildStringToSign(c *claim) {
	b := append(s.toSign[:0], algorithm+"\n"...)
	b = append(b, c.amzDate...)
	b = append(b, '\n')
	b = append(b, c.day...)
	b = append(b, '/')
	b = append(b, c.region...)
	b = append(b, '/')
	b = append(b, c.service...)
	b = append(b, "/"+terminator+"\n"...)
	sum := sha256.Sum256(s.canon)
	s.toSign = hex.AppendEncode(b, sum[:])
}
