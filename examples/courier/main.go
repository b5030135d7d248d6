// Courier is a function in Go that calls the function its event names, and
// returns what that one returned. What it may call is for the policies of its
// role and of its caller to say; it has no credentials of its own.
//
//	{"function": "orders", "payload": {"id": 7}}
//
// With "later" the function is called as an event. With "times" a courier that
// calls itself does so as often.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	carrel "github.com/carrel-dev/carrel/sdk/go"
)

//lint:allow init a reactor's main does not run
func init() { carrel.Handle(handle) }

func main() {}

type errand struct {
	Function string          `json:"function"`
	TenantID string          `json:"tenantId,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Later    bool            `json:"later,omitempty"`
	Times    int             `json:"times,omitempty"`
}

func handle(_ *carrel.Context, event []byte) ([]byte, error) {
	var e errand
	if err := json.Unmarshal(event, &e); err != nil {
		return nil, fmt.Errorf("the event is not an errand: %w", err)
	}
	in := carrel.Invocation{Function: e.Function, TenantID: e.TenantID, Payload: e.Payload}
	if e.Times > 1 {
		e.Times--
		again, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		in.Payload = again
	}
	if e.Later {
		return []byte(`"sent"`), carrel.Send(in)
	}
	result, err := carrel.Invoke(in)
	var refused *carrel.RefusedError
	if errors.As(err, &refused) {
		fmt.Fprintln(os.Stderr, "not called:", refused.Code, refused.Reason, "try again in", refused.RetryAfter)
	}
	if err != nil {
		return nil, err
	}
	return result.Payload, nil
}
