package body

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

const limit = 300 << 10

func request(t testing.TB, account string, size, announced int) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.NopCloser(bytes.NewReader(make([]byte, size))))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(announced)
	r.Header.Set("X-Account", account)
	return r
}

func reader(most int) *Reader {
	return NewReader(most, func(r *http.Request) (tenant.AccountID, bool) {
		a := r.Header.Get("X-Account")
		return tenant.AccountID(a), a != ""
	})
}

// TestBodiesAreReadWithinTheirBounds reads bodies of announced and of unknown
// length, around every bound.
func TestBodiesAreReadWithinTheirBounds(t *testing.T) {
	t.Parallel()
	br := reader(8 << 20)
	for _, tc := range []struct {
		size int
		kind fault.Kind
	}{{0, 0}, {1, 0}, {Small - 1, 0}, {Small, 0}, {Small + 1, 0}, {limit, 0}, {limit + 1, fault.TooLarge}} {
		for _, announced := range []int{tc.size, -1} {
			b, err := br.Read(request(t, "a", tc.size, announced), Limit{Bytes: limit})
			if tc.kind != 0 {
				if !fault.Is(err, tc.kind) {
					t.Errorf("%d bytes, announced %d: %v", tc.size, announced, err)
				}
				continue
			}
			if err != nil || len(b.Bytes) != tc.size {
				t.Errorf("%d bytes, announced %d: %v", tc.size, announced, err)
				continue
			}
			b.Release(true)
		}
	}
	if br.Held() != 0 {
		t.Errorf("%d bytes are still held", br.Held())
	}
}

// TestMemoryIsShared shows that an account gets half of the memory, that
// nobody gets any, and that what is released can be had again.
func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	br := reader(4 * limit)
	read := func(account string) (*Body, error) {
		return br.Read(request(t, account, limit, limit), Limit{Bytes: limit})
	}
	if _, err := read(""); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a large body of nobody: %v", err)
	}
	first, err := read("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read("a"); err != nil {
		t.Errorf("a second one, within the account's half: %v", err)
	}
	if _, err := read("a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a third one: %v", err)
	}
	if _, err := read("b"); err != nil {
		t.Errorf("one of another account: %v", err)
	}
	first.Release(true)
	if _, err := read("a"); err != nil {
		t.Errorf("after a release: %v", err)
	}
}
