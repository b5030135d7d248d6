// Package host does what functions ask of the platform while they run: the
// operations of carrel_v1.call (package sandbox/wasm has that function).
//
// Who asks is the call that runs, as the node knows it. A request says what
// is wanted and never who wants it, for whom, or after whom: principal, end
// tenant and chain are made here from the call. There is no credential that
// could be taken along: what a call may do is a value in the node's memory,
// found by the handle of an open call, and gone with it.
//
// # invoke, operation 1
//
// Numbers are little endian. The request is a head of 8 bytes, three texts and
// the payload:
//
//	u8   0 to wait for the result (RequestResponse), 1 to have it run later (Event)
//	u8   0
//	u16  length of the function's name
//	u16  length of the qualifier, 0 for none
//	u16  length of the end tenant's id, 0 for none
//	…    name, in any of Lambda's forms; qualifier; id; payload: JSON, or nothing for {}
//
// The reply is a head of 4 bytes, the version that ran, and what came of it:
//
//	u8   0 the function's result follows
//	     1 the function failed, its error object follows
//	     2 the event was accepted, nothing follows
//	     3 the function was not called, or its result is not known: an object
//	       follows with code (as of Lambda's Invoke), message, and where there
//	       are such, reason and retryAfterMs
//	u8   0
//	u16  length of the version
//	…    version, payload
//
// The payload is at most 6,291,456 bytes, of an event 1,048,576.
//
// # As whom a function calls
//
// A function that calls on is the session of its execution role for its call:
// arn:aws:sts::ACCOUNT:assumed-role/ROLE/FUNCTION. The new call's chain is the
// chain of the calling one and its principal, so that nobody is allowed
// through a function what it is not allowed itself. The end tenant that a
// call is for stays the same through all calls that follow from it inside its
// account; one that calls on for another is refused.
package host
