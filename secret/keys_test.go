package secret

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

func TestFirstStartMakesARootKeyOnce(t *testing.T) {
	p := newPlace(t)
	keys, err := os.OpenRoot(p.folder)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	first, created, err := OpenRootKey(p.rootPath, keys)
	if err != nil || !created {
		t.Fatalf("first: %v, %v", created, err)
	}
	info, err := os.Stat(p.rootPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	second, created, err := OpenRootKey(p.rootPath, keys)
	if err != nil || created || *second.secret.bytes != *first.secret.bytes {
		t.Errorf("second: created %v, %v", created, err)
	}
	if _, err := CreateRootKey(p.rootPath); !fault.Is(err, fault.Conflict) {
		t.Errorf("made over it: %v", err)
	}
}

func TestRootKeyThatOthersMayReadIsRefused(t *testing.T) {
	p := newPlace(t)
	p.open(t)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666, 0o644} {
		if err := os.Chmod(p.rootPath, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := p.tryOpen(t); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(p.rootPath, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := p.tryOpen(t); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestFolderThatIsOpenToOthersIsRefused(t *testing.T) {
	p := newPlace(t)
	p.open(t)
	for _, mode := range []os.FileMode{0o750, 0o705, 0o701, 0o777} {
		if err := os.Chmod(p.folder, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := p.tryOpen(t); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(p.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p.open(t)
}

func TestWrongOrLostRootKeyIsSaidClearly(t *testing.T) {
	p := newPlace(t)
	newTenant(t, p.open(t))
	other := newPlace(t)
	other.open(t)

	mixed := place{rootPath: other.rootPath, folder: p.folder}
	if _, err := mixed.tryOpen(t); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "not the one") {
		t.Errorf("another root key: %v", err)
	}
	lost := place{rootPath: p.rootPath + ".lost", folder: p.folder}
	if _, err := lost.tryOpen(t); !fault.Is(err, fault.NotFound) {
		t.Errorf("a lost root key: %v", err)
	}
	if _, err := os.Stat(lost.rootPath); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new root key was made in its place: %v", err)
	}
	if _, err := p.tryOpen(t); err != nil {
		t.Errorf("the right one: %v", err)
	}
	if err := os.Remove(p.folder + "/" + checkFile); err != nil {
		t.Fatal(err)
	}
	if _, err := p.tryOpen(t); !fault.Is(err, fault.Denied) {
		t.Errorf("keys without a check value: %v", err)
	}
}

func FuzzRootKeyFile(f *testing.F) {
	text := formatRootKey(newKey())
	f.Add(text)
	f.Add(bytes.TrimSuffix(text, []byte("\n")))
	f.Add([]byte(rootTitle + "\n\n\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseRootKey(b)
		if err != nil {
			return
		}
		if got := formatRootKey(k); !bytes.Equal(bytes.TrimRight(b, "\n"), bytes.TrimRight(got, "\n")) {
			t.Errorf("%q was read as %q", b, got)
		}
	})
}

func TestSlipInTheRootKeyFileIsFound(t *testing.T) {
	text := formatRootKey(newKey())
	if _, err := parseRootKey(text); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range len(text) - 1 {
		slip := bytes.Clone(text)
		slip[i] ^= 1
		if _, err := parseRootKey(slip); err != nil {
			found++
		}
	}
	if found < len(text)-2 { // a checksum of 16 bits may miss one
		t.Errorf("%d of %d slips were found", found, len(text)-1)
	}
}

func TestDataKeysAreReplacedAndRemembered(t *testing.T) {
	r, err := newRing(newKey())
	if err != nil {
		t.Fatal(err)
	}
	var sealed [][]byte
	for range 2 * maxOld {
		r.current.Load().uses.Store(maxUses - 1)
		sealed = append(sealed, r.seal(nil, []byte("last"), nil), r.seal(nil, []byte("next"), nil))
	}
	ids := map[string]bool{}
	for _, s := range sealed {
		ids[string(s[1:headSize])] = true
		if _, err := r.open(nil, s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 2*maxOld+1 {
		t.Errorf("%d data keys were used, not %d", len(ids), 2*maxOld+1)
	}
	if len(r.old) > maxOld {
		t.Errorf("%d earlier keys are remembered", len(r.old))
	}
	for range 3 * maxOld { // names of no key must not push out the real ones
		forged := bytes.Clone(sealed[0])
		rand.Read(forged[1:headSize])
		before := len(r.old)
		if _, err := r.open(nil, forged, nil); !errors.Is(err, ErrAltered) || len(r.old) != before {
			t.Fatalf("a forged key name: %v, %d remembered", err, len(r.old))
		}
	}
}

func TestPurposesHaveTheirOwnKeys(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	journal, err := k.NodeSealer(Journal)
	if err != nil {
		t.Fatal(err)
	}
	sealed := journal.Seal([]byte("head"), []byte("record"), []byte("place"))
	if !bytes.HasPrefix(sealed, []byte("head")) || len(sealed) != len("headrecord")+journal.Overhead() {
		t.Fatalf("sealed as %q", sealed)
	}
	sealed = sealed[len("head"):]
	again, err := p.open(t).NodeSealer(Journal)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := again.Open([]byte("head"), sealed, []byte("place")); err != nil || string(out) != "headrecord" {
		t.Errorf("after a restart: %q, %v", out, err)
	}
	if _, err := again.Open(nil, sealed, []byte("another place")); !errors.Is(err, ErrAltered) {
		t.Errorf("in another place: %v", err)
	}
	tokens, err := k.NodeSealer(Tokens)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Open(nil, sealed, []byte("place")); !errors.Is(err, ErrAltered) {
		t.Errorf("by another purpose: %v", err)
	}
	a, err := k.MAC(Artefacts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.MAC(RequestSeeds)
	if err != nil {
		t.Fatal(err)
	}
	sum := a.Sum([]byte("data"))
	if !a.Verify([]byte("data"), sum[:]) || b.Verify([]byte("data"), sum[:]) || a.Verify([]byte("date"), sum[:]) || a.Verify([]byte("data"), sum[:31]) || a.Verify([]byte("data"), nil) {
		t.Error("a MAC verifies what it must not, or not what it must")
	}
	for _, bad := range []Purpose{"", "a b", "../x", Purpose(strings.Repeat("a", 65))} {
		if _, err := k.NodeSealer(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("NodeSealer(%q): %v", bad, err)
		}
		if _, err := k.MAC(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("MAC(%q): %v", bad, err)
		}
	}
}

func sealStream(t testing.TB, k *Keeper, l Label, plaintext []byte) []byte {
	t.Helper()
	var sealed bytes.Buffer
	w, err := k.SealStream(l, &sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sealed.Bytes()
}

func openStream(k *Keeper, l Label, sealed []byte) ([]byte, error) {
	r, err := k.OpenStream(l, bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestStreamsOpenOnlyWholeAndUnderTheirLabel(t *testing.T) {
	k := newPlace(t).open(t)
	acme, globex, end := newTenant(t, k), newTenant(t, k), tenant.NewUID()
	label := Label{Owner: acme, Kind: Code, ID: "x"}
	plaintext := bytes.Repeat([]byte("0123456789abcdef"), 3*segmentSize/16)
	sealed := sealStream(t, k, label, plaintext)
	if out, err := openStream(k, label, sealed); err != nil || !bytes.Equal(out, plaintext) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	if out, err := openStream(k, label, sealStream(t, k, label, nil)); err != nil || len(out) != 0 {
		t.Errorf("an empty one: %d bytes, %v", len(out), err)
	}
	refused := func(name string, l Label, b []byte) {
		t.Helper()
		out, err := openStream(k, l, b)
		if !errors.Is(err, ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
		if len(out) > 0 && !bytes.HasPrefix(plaintext, out) {
			t.Errorf("%s: gave bytes that were never sealed", name)
		}
	}
	refused("another tenant", Label{Owner: globex, Kind: Code, ID: "x"}, sealed)
	refused("an end tenant", Label{Owner: acme, EndTenant: end, Kind: Code, ID: "x"}, sealed)
	refused("another kind", Label{Owner: acme, Kind: Image, ID: "x"}, sealed)
	refused("another id", Label{Owner: acme, Kind: Code, ID: "y"}, sealed)
	for _, n := range []int{0, 1, 39, 40, segmentSize - 1, segmentSize, 2 * segmentSize, len(sealed) - 1} {
		refused("cut off", label, sealed[:n])
	}
	for _, i := range []int{0, 1, 39, 40, segmentSize - 1, segmentSize, len(sealed) - 1} {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		refused("altered", label, altered)
	}
	swapped := bytes.Clone(sealed)
	copy(swapped[segmentSize:], sealed[2*segmentSize:3*segmentSize])
	copy(swapped[2*segmentSize:], sealed[segmentSize:2*segmentSize])
	refused("reordered", label, swapped)
	if _, err := k.OpenStream(label, failing{}); err == nil || errors.Is(err, ErrAltered) || !errors.Is(err, errDisk) {
		t.Errorf("a failing disk: %v", err)
	}
}

var errDisk = errors.New("disk failure")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }
