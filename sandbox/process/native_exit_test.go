//go:build linux

package process

import (
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/call"
)

// What a function did last is told also when its sandbox was frozen before,
// several times: stopping all of its host processes killed threads in it.
func TestExitAfterThawIsToldAsItWas(t *testing.T) {
	h := newNodeHarness(t, nil)
	f := h.deployNode("111111111111", `exports.handler = async (e) => { if (e) return process.exit(3); return 1 }`, nodeLimits)
	for range 3 {
		for range 3 {
			if o := h.run(f, "0"); o.Result != call.OK {
				t.Fatalf("%s: %s (%v)", o.Result, o.Payload, o.Err)
			}
			<-time.After(time.Second)
		}
		if o := h.run(f, "1"); !strings.Contains(string(o.Payload), "exit status 3") {
			t.Errorf("%s: %s (%v)", o.Result, o.Payload, o.Err)
		}
	}
}
