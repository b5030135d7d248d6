package credential

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// TestKeyCache asks for many more signers than there are slots, from several
// goroutines: each must be the one that was asked for.
func TestKeyCache(t *testing.T) {
	t.Parallel()
	var cache keyCache
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 3 * cacheSlots / 2 {
				n := fmt.Sprint(i)
				key := Key{ID: "AKID", Secret: "secret"}
				c := &claim{day: "20150830", region: "us-east-1", service: "lambda"}
				switch (worker + i) % 5 {
				case 0:
					key.ID = n
				case 1:
					key.Secret = Secret(n)
				case 2:
					c.day = n
				case 3:
					c.region = n
				case 4:
					c.service = n
				}
				got := cache.signer(key, c)
				if got.id != key.ID || got.secret != key.Secret || got.day != c.day || got.region != c.region || got.service != c.service {
					t.Errorf("asked for %q %q %q %q, got %q %q %q %q", key.ID, c.day, c.region, c.service, got.id, got.day, got.region, got.service)
					return
				}
			}
		})
	}
	wait.Wait()
	key, c := Key{ID: "AKID", Secret: "secret"}, &claim{day: "20150830", region: "us-east-1", service: "lambda"}
	first := cache.signer(key, c)
	if cache.signer(key, c) != first {
		t.Error("a signer is not kept")
	}
	if !bytes.Equal(first.sign(nil, []byte("m")), newSigner(key, c).sign(nil, []byte("m"))) {
		t.Error("a kept signer signs differently")
	}
}

func TestSecretIsRedacted(t *testing.T) {
	t.Parallel()
	key := Key{ID: "AKID", Secret: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(format, key); bytes.Contains([]byte(got), []byte("hunter2")) || bytes.Contains([]byte(got), []byte("68756e74657232")) {
			t.Errorf("%s shows %s", format, got)
		}
	}
	if got := key.Secret.LogValue().String(); got != redacted {
		t.Errorf("logged as %s", got)
	}
}

// TestScratchForgets shows that nothing of a request stays in the pool.
func TestScratchForgets(t *testing.T) {
	t.Parallel()
	v := &Verifier{}
	s := newScratch()
	s.claim.keyID, s.rawQuery, s.host[0] = "AKID", "q", "h"
	s.names = append(s.names, "n")
	s.values[0] = []string{"v"}
	v.release(s)
	if s.claim.keyID != "" || s.rawQuery != "" || s.host[0] != "" || s.names[0] != "" || s.values[0] != nil {
		t.Errorf("kept %+v", s)
	}
}
