// Package testrounds says how many rounds a random test runs and with which
// seed, so that every such test can be replayed from what it printed.
package testrounds

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Rounds gives the number of rounds: 20, or CARREL_TEST_ROUNDS where it is
// set (make soak sets 1000).
func Rounds(t testing.TB) int {
	t.Helper()
	return number(t, "CARREL_TEST_ROUNDS", 20)
}

// Rand gives a source seeded from CARREL_TEST_SEED, or from the clock, and
// logs the seed.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(number(t, "CARREL_TEST_SEED", int(time.Now().UnixNano())))
	t.Logf("seed %d (replay with CARREL_TEST_SEED=%d)", seed, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name) //lint:allow getenv tests are configured by their environment
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}
