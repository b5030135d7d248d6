//go:build linux

package attack

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// process is one process of the machine.
type process struct {
	id, parent int
	ticks      int64 // of CPU time
	name       string
}

func readProcess(id int) (p process, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return p, false
	}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	rest := strings.Fields(string(b[end+1:]))
	p = process{id: id, name: string(b[open+1 : end])}
	p.parent, _ = strconv.Atoi(rest[1])
	user, _ := strconv.ParseInt(rest[11], 10, 64)
	system, _ := strconv.ParseInt(rest[12], 10, 64)
	p.ticks = user + system
	return p, true
}

// below gives the processes below the node.
func (w *world) below(t *testing.T) map[int]process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]process{}
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProcess(id); ok {
				all[id] = p
			}
		}
	}
	found := map[int]process{}
	for id, p := range all {
		for up := p.parent; up > 1; up = all[up].parent {
			if up == w.node.PID() {
				found[id] = p
				break
			}
		}
	}
	return found
}

// memory gives the bytes of memory that the node itself holds.
func (w *world) memory(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.node.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
