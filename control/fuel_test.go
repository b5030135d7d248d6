package control

import "testing"

func TestFuelTagBoundsEveryVersionAtOnce(t *testing.T) {
	for value, want := range map[string]uint64{"1": 1, "1000000000000000": 1e15} {
		if got, err := parseFuel(value); err != nil || got != want {
			t.Errorf("parseFuel(%q) = %d, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "0", "-1", "1.5", "1000000000000001", "99999999999999999999", " 1"} {
		if got, err := parseFuel(value); err == nil {
			t.Errorf("parseFuel(%q) = %d, want an error", value, got)
		}
	}
}
