// Shout is a function in Go that is a whole program: a WASI command. It
// reads the event from standard input and writes the result to standard
// output, and uses nothing but the standard library:
//
//	GOOS=wasip1 GOARCH=wasm go build -o bootstrap.wasm .
//
// A command starts anew for each call. That is simple and takes a few
// milliseconds in Go; a reactor, such as examples/greeter, is initialised
// once and answers a hundred times faster.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the event cannot be read:", err)
		os.Exit(1)
	}
	tenant := os.Getenv("CARREL_TENANT_ID") //lint:allow getenv a function is told of its call this way
	fmt.Fprintln(os.Stderr, "shouting for", tenant)
	fmt.Printf("%q", strings.ToUpper(strings.Trim(strings.TrimSpace(string(event)), `"`))+" for "+tenant)
}
