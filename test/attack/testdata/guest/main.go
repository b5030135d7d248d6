// Guest is a hostile function: the event says what it tries.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand"
	"os"
	"strings"
	"time"

	carrel "github.com/carrel-dev/carrel/sdk/go"
)

func init() { carrel.Handle(handle) }

func main() {}

type request struct {
	Do   string   `json:"do"`
	N    int      `json:"n"`
	Text string   `json:"text"`
	List []string `json:"list"`
}

// kept is what one call would leave for the next.
var kept []string

var turns int

func handle(c *carrel.Context, event []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(event, &r); err != nil {
		return nil, err
	}
	switch r.Do {
	case "echo":
		return json.Marshal(map[string]any{"context": json.RawMessage(c.JSON()), "env": os.Environ(), "args": os.Args, "event": json.RawMessage(event)})
	case "print":
		for range max(r.N, 1) {
			os.Stderr.WriteString(r.Text)
		}
	case "residue":
		return json.Marshal(residue(r.Text))
	case "files":
		return json.Marshal(files(r.List))
	case "random":
		b := make([]byte, 32)
		rand.Read(b)
		return json.Marshal([]string{hex.EncodeToString(b), hex.EncodeToString([]byte(fmt.Sprint(carrel.Rand.Uint64(), carrel.Rand.Uint64())))})
	case "clock":
		return json.Marshal(clock(r.N))
	case "sleep":
		time.Sleep(time.Duration(r.N) * time.Millisecond)
	case "busy":
		for range r.N {
			turns++
		}
	case "spin":
		for {
			turns++
		}
	case "eat":
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "fail":
		return nil, errors.New(r.Text)
	case "panic":
		panic(r.Text)
	}
	return []byte(`"done"`), nil
}

// residue tells what an earlier call left in each place, and leaves a mark
// in each.
func residue(mark string) (found []string) {
	for _, k := range kept {
		found = append(found, "variable "+k)
	}
	kept = append(kept, mark)
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "MARK") {
			found = append(found, v)
		}
	}
	os.Setenv("MARK_"+mark, mark)
	entries, _ := os.ReadDir("/tmp")
	for _, e := range entries {
		found = append(found, "file "+e.Name())
	}
	if err := os.WriteFile("/tmp/"+mark, []byte(mark), 0o666); err != nil {
		found = append(found, err.Error())
	}
	if _, err := os.Stat("/tmp/" + mark); err != nil {
		found = append(found, err.Error())
	}
	return found
}

// files tries to reach each path in every way there is and tells what
// worked outside of /tmp.
func files(paths []string) (reached []string) {
	try := func(what, path string, err error) {
		if err == nil {
			reached = append(reached, what+" "+path)
		}
	}
	os.WriteFile("/tmp/mine", []byte("mine"), 0o666)
	for _, p := range paths {
		_, err := os.ReadFile(p)
		try("read", p, err)
		try("write", p, os.WriteFile(p, []byte("x"), 0o666))
		_, err = os.ReadDir(p)
		try("list", p, err)
		try("symlink", p, os.Symlink(p, "/tmp/link"))
		_, err = os.ReadFile("/tmp/link")
		try("read by link", p, err)
		os.Remove("/tmp/link")
		try("link", p, os.Link(p, "/tmp/hard"))
		try("rename to", p, os.Rename("/tmp/mine", p))
		try("rename from", p, os.Rename(p, "/tmp/theirs"))
		try("mkdir", p, os.Mkdir(p, 0o777))
		try("remove", p, os.Remove(p))
	}
	return reached
}

// clock reads the clock n times and gives the smallest step it saw and how
// many, both in nanoseconds and pieces.
func clock(n int) map[string]int64 {
	least, steps := int64(1<<62), int64(0)
	last := time.Now()
	for range n {
		now := time.Now()
		if d := now.Sub(last).Nanoseconds(); d != 0 {
			least = min(least, max(d, -d))
			steps++
		}
		last = now
		turns += mathrand.Intn(8)
	}
	return map[string]int64{"least": least, "steps": steps}
}
