package main

import (
	"testing"

	"github.com/carrel-dev/carrel/server"
)

// TestVersionIsTheNodes holds the two to each other: the client builds where
// the server does not.
func TestVersionIsTheNodes(t *testing.T) {
	t.Parallel()
	if version != server.Version {
		t.Errorf("the command is %s, the node %s", version, server.Version)
	}
}
