// Greeter is a function in Go, built as a reactor. It greets its tenant, and
// on demand does what a platform for many tenants has to withstand: it counts
// in a variable, spins, eats memory, prints and fails.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	carrel "github.com/carrel-dev/carrel/sdk/go"
)

//lint:allow init a reactor's main does not run
func init() { carrel.Handle(handle) }

func main() {}

// calls counts the calls that this instance remembers.
var calls int

type request struct {
	Name string `json:"name"`
	Do   string `json:"do"`
	// Of a request to the function's URL: its path says what to do.
	Path  string            `json:"rawPath"`
	Query map[string]string `json:"queryStringParameters"`
}

type reply struct {
	Message string `json:"message"`
	Tenant  string `json:"tenant"`
	Calls   int    `json:"callsIRemember"`
}

// stream greets in pieces, as a response with a head.
func stream(r *request) error {
	s, err := carrel.NewStream(carrel.ContentHTTP)
	if err == nil {
		err = s.WriteHead([]byte(`{"statusCode":201,"headers":{"content-type":"text/plain"},"cookies":["a=b"]}`))
	}
	for _, piece := range []string{"Hello, ", r.Name, "!"} {
		if err == nil {
			_, err = s.Write([]byte(piece))
		}
	}
	return err
}

func handle(c *carrel.Context, event []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(event, &r); err != nil {
		return nil, fmt.Errorf("the event is not a JSON object: %w", err)
	}
	calls++
	if r.Path != "" {
		r.Do, r.Name = strings.TrimPrefix(r.Path, "/"), r.Query["name"]
	}
	switch r.Do {
	case "spin":
		for n := 0; ; n++ {
			calls = n
		}
	case "eat":
		var held [][]byte
		for {
			held = append(held, make([]byte, 1<<20))
		}
	case "print":
		fmt.Fprintln(os.Stderr, "printed for", c.TenantID())
	case "respond":
		return []byte(`{"statusCode":418,"headers":{"X-Kind":"teapot","Connection":"close","Content-Type":"text/plain"},"cookies":["a=1","b=2"],"body":"c2hvcnQ=","isBase64Encoded":true}`), nil
	case "stream":
		return nil, stream(&r)
	case "fail":
		return nil, errors.New("asked to fail")
	}
	return json.Marshal(reply{Message: "Hello, " + r.Name + "!", Tenant: c.TenantID(), Calls: calls})
}
