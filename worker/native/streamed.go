package native

import "encoding/base64"

// trailerError gives the error of a streamed response that broke off: its
// type is in one trailer, its body in base64 in another.
func trailerError(r *request, kind string) []byte {
	body, err := base64.StdEncoding.DecodeString(r.trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil || len(body) == 0 {
		return errorObject(kind, "the function's response broke off")
	}
	return body
}
