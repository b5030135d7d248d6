//go:build wasip1

// Command is a guest for tests that answers with its environment and event.
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
		panic(err)
	}
	if string(event) == "fail" {
		fmt.Fprintln(os.Stderr, "first\nno luck today")
		os.Exit(3)
	}
	fmt.Printf("%s|%s|%s", os.Args[0], strings.Join(os.Environ(), ","), event)
}
