package credential

import (
	"time"

	"github.com/carrel-dev/carrel/fault"
)

// Codes of refusals, as the AWS services send them. Lambda itself says
// InvalidSignatureException for a wrong signature and for skew; we say what
// IAM and S3 say, because those two names tell the cases apart.
const (
	// CodeSignatureDoesNotMatch is for a signature, scope or payload hash
	// that is not that of the request as received.
	CodeSignatureDoesNotMatch = "SignatureDoesNotMatch"
	// CodeRequestTimeTooSkewed is for a request signed outside the window.
	CodeRequestTimeTooSkewed = "RequestTimeTooSkewed"
	// CodeMissingAuthentication is for a request without a signature.
	CodeMissingAuthentication = "MissingAuthenticationTokenException"
	// CodeIncompleteSignature is for a signature that is malformed or lacks
	// a part.
	CodeIncompleteSignature = "IncompleteSignatureException"
	// CodeUnrecognizedClient is for an unknown or inactive key or session.
	CodeUnrecognizedClient = "UnrecognizedClientException"
	// CodeExpiredToken is for a presigned request after its X-Amz-Expires, and
	// for a token whose time is over.
	CodeExpiredToken = "ExpiredTokenException"
	// CodeAccessDenied is for the valid signature of a suspended tenant.
	CodeAccessDenied = "AccessDeniedException"
)

const (
	opVerify                 = "credential.Verify"
	remedySignEveryAmzHeader = "Put every x-amz-* header that is sent into SignedHeaders."
	remedyUseAnSDK           = "Sign with AWS Signature Version 4, as the AWS SDKs and curl --aws-sigv4 do."
	remedyOneValue           = "Send it once."
	remedyWholePayloadHash   = "Send the SHA-256 of the whole payload in hexadecimal, or leave the header out."
)

// refusal makes an Unauthenticated error. Foreign text in it must be clipped
// and quoted by the caller.
func refusal(code, format string, args ...any) *fault.Error {
	return fault.New(opVerify, fault.Unauthenticated, format, args...).WithCode(code)
}

func incomplete(format string, args ...any) *fault.Error {
	return refusal(CodeIncompleteSignature, format, args...).WithRemedy(remedyUseAnSDK)
}

// mismatch is in AWS's words, which people look up.
func mismatch() *fault.Error {
	return refusal(CodeSignatureDoesNotMatch, "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

func unrecognized() *fault.Error {
	return refusal(CodeUnrecognizedClient, "the access key id or security token of the request is not valid.").
		WithRemedy("Check the access key id; it may have been deleted or made inactive.")
}

func expired(at time.Time) *fault.Error {
	return refusal(CodeExpiredToken, "The security token included in the request expired at %s.", at.UTC().Format(time.RFC3339)).
		WithRemedy("Ask for new temporary credentials.")
}

func suspended() *fault.Error {
	return fault.New(opVerify, fault.Suspended, "the tenant of this access key is suspended.").
		WithCode(CodeAccessDenied).WithRemedy("Ask the operator of this installation.")
}

// clip bounds foreign text in a message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most]
	}
	return s
}
