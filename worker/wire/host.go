package wire

import (
	"encoding/binary"
	"time"
)

// MaxHostCalls is how often one call may ask the node for something. The
// worker answers the guest by itself from then on, so one that asks more often
// is no honest worker.
const MaxHostCalls = 1000

// MaxHostRequest is the most bytes of a request, as package sandbox/wasm has it.
const MaxHostRequest = 6<<20 + 4<<10

// AppendHostCall appends a HostCall frame: the call of the handle asks for
// operation op.
func AppendHostCall(b []byte, handle uint64, op uint32, request []byte) []byte {
	start := len(b)
	b = Append(b, HostCall, handle)
	b = binary.LittleEndian.AppendUint32(b, op)
	return Finish(putBytes(b, request), start)
}

// ParseHostCall reads the body of a HostCall frame; the request points into it.
func ParseHostCall(body []byte) (op uint32, request []byte, err error) {
	r := reader{b: body}
	op, request = r.u32(), r.bytes()
	if len(request) > MaxHostRequest {
		r.bad = true
	}
	return op, request, r.done("host call")
}

// AppendHostReply appends a HostReply frame: what became of the one HostCall
// that the call of the handle has open, and how long that took.
func AppendHostReply(b []byte, handle uint64, took time.Duration, reply []byte) []byte {
	start := len(b)
	b = Append(b, HostReply, handle)
	b = binary.LittleEndian.AppendUint64(b, uint64(took))
	return Finish(putBytes(b, reply), start)
}

// ParseHostReply reads the body of a HostReply frame; the reply points into it.
func ParseHostReply(body []byte) (took time.Duration, reply []byte, err error) {
	r := reader{b: body}
	took, reply = time.Duration(r.u64()), r.bytes()
	if took < 0 {
		r.bad = true
	}
	return took, reply, r.done("host reply")
}
