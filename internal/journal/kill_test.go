//go:build linux

package journal

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// childArgument makes the test binary be the process that is killed.
const childArgument = "journal-child"

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Arg(0) == childArgument {
		os.Exit(writeUntilKilled(flag.Arg(1)))
	}
	os.Exit(m.Run())
}

// writeUntilKilled appends from many goroutines and says on its output, a
// line each, what was acknowledged.
func writeUntilKilled(dir string) int {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 2
	}
	j, err := Open(root, Config{Node: "node-a", SegmentBytes: 64 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d-%d-%s", g, i, strings.Repeat("x", i%100))
				seq := j.Append(9, []byte(text))
				if err := j.Write(seq); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				if _, err := fmt.Fprintln(os.Stdout, j.ID(seq), text); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return 1
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]string{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], childArgument, dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, dead := 0, false
		for r := bufio.NewReader(out); ; lines++ {
			line, err := r.ReadString('\n')
			if err != nil {
				break // end of the pipe; what came without a line end was cut
			}
			id, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			acked[id] = text
			if lines >= 2000*(round+1) && !dead {
				dead = true
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); !dead {
			t.Fatalf("the child ended by itself after %d lines: %v", lines, err)
		}
		j := openDir(t, dir, Config{})
		if j.Recovery().Clean {
			t.Error("a killed process left a journal that looks closed")
		}
		seen := map[string]bool{}
		if _, err := j.Read(Cursor{}, func(r Record) error {
			id := r.ID.String()
			if seen[id] {
				t.Errorf("record %s twice", id)
			}
			seen[id] = true
			if want, ok := acked[id]; ok && want != string(r.Data) {
				t.Errorf("record %s is %q, want %q", id, r.Data, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for id := range acked {
			if !seen[id] {
				t.Errorf("record %s was acknowledged and is lost", id)
			}
		}
		t.Logf("round %d: %d acknowledged, %d there, recovery %+v", round, len(acked), len(seen), j.Recovery())
		closeIt(t, j)
	}
}
