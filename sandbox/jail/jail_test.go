//go:build linux

package jail

import "testing"

func TestHarmlessChildLives(t *testing.T) {
	for _, where := range []stage{free, inside, locked} {
		for _, p := range []string{"worker", "compile"} {
			c := start(t, where, p, "nothing")
			if !c.state.Success() || !c.Done {
				t.Errorf("%s %s: %v, %+v, %s", where, p, c.state, c.outcome, c.stderr)
			}
		}
	}
}
