package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/tenant"
)

// place is where an installation's keys lie.
type place struct {
	rootPath string
	folder   string
}

func newPlace(t testing.TB) place {
	t.Helper()
	dir := t.TempDir()
	p := place{rootPath: filepath.Join(dir, "data.key"), folder: filepath.Join(dir, "data.keys")}
	if err := os.Mkdir(p.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p place) tryOpen(t testing.TB) (*Keeper, error) {
	t.Helper()
	keys, err := os.OpenRoot(p.folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	root, _, err := OpenRootKey(p.rootPath, keys)
	if err != nil {
		return nil, err
	}
	return Open(Config{Root: root, Keys: keys})
}

func (p place) open(t testing.TB) *Keeper {
	t.Helper()
	k, err := p.tryOpen(t)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTenant(t testing.TB, k *Keeper) tenant.UID {
	t.Helper()
	uid := tenant.NewUID()
	if err := k.CreateTenant(uid); err != nil {
		t.Fatal(err)
	}
	return uid
}

func seal(t testing.TB, k *Keeper, l Label, plaintext string) []byte {
	t.Helper()
	sealed, err := k.Seal(l, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// opens tells whether the label opens to the plaintext; anything that does
// not open has to be an ErrAltered.
func opens(t testing.TB, k *Keeper, l Label, sealed []byte) (string, bool) {
	t.Helper()
	plaintext, err := k.Open(l, sealed)
	if err != nil && !errors.Is(err, ErrAltered) {
		t.Errorf("%+v: %v", l, err)
	}
	return string(plaintext), err == nil
}

func TestSealedBytesOpenOnlyUnderTheirLabel(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	acme, globex := newTenant(t, k), newTenant(t, k)
	end := tenant.NewUID()
	label := Label{Owner: acme, EndTenant: end, Kind: Record, ID: "fn.1", Revision: 7}
	sealed := seal(t, k, label, "acme's text")
	if bytes.Contains(sealed, []byte("acme")) {
		t.Error("the plaintext shows")
	}
	if len(sealed) != len("acme's text")+Overhead {
		t.Errorf("sealing added %d bytes, not %d", len(sealed)-len("acme's text"), Overhead)
	}
	for name, keeper := range map[string]*Keeper{"the same keeper": k, "after a restart": p.open(t)} {
		if text, ok := opens(t, keeper, label, sealed); !ok || text != "acme's text" {
			t.Errorf("%s: opened as %q, %v", name, text, ok)
		}
	}
	for name, wrong := range map[string]Label{
		"another tenant":         {globex, end, Record, "fn.1", 7},
		"the node":               {Node, end, Record, "fn.1", 7},
		"no end tenant":          {acme, "", Record, "fn.1", 7},
		"another end tenant":     {acme, tenant.NewUID(), Record, "fn.1", 7},
		"end tenant of another":  {globex, acme, Record, "fn.1", 7},
		"another kind":           {acme, end, Code, "fn.1", 7},
		"another id":             {acme, end, Record, "fn.2", 7},
		"an earlier revision":    {acme, end, Record, "fn.1", 6},
		"a later revision":       {acme, end, Record, "fn.1", 8},
		"text moved to the kind": {acme, end, "recordf", "n.1", 7},
	} {
		if text, ok := opens(t, k, wrong, sealed); ok {
			t.Errorf("%s: opened as %q", name, text)
		}
	}
	if other := seal(t, k, label, "acme's text"); bytes.Equal(other, sealed) {
		t.Error("sealing the same twice gave the same bytes")
	}
}

func TestEveryAlteredByteIsRefused(t *testing.T) {
	k := newPlace(t).open(t)
	label := Label{Owner: newTenant(t, k), Kind: Record, ID: "fn.1"}
	sealed := seal(t, k, label, "text")
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			altered := bytes.Clone(sealed)
			altered[i] ^= bit
			if _, ok := opens(t, k, label, altered); ok {
				t.Errorf("opened with byte %d altered", i)
			}
		}
	}
	for n := range sealed {
		if _, ok := opens(t, k, label, sealed[:n]); ok {
			t.Errorf("opened cut to %d bytes", n)
		}
	}
	if _, ok := opens(t, k, label, append(bytes.Clone(sealed), 0)); ok {
		t.Error("opened with a byte more")
	}
	newer := bytes.Clone(sealed)
	newer[0]++
	if _, err := k.Open(label, newer); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a newer form: %v", err)
	}
	if _, ok := opens(t, k, label, sealed); !ok {
		t.Error("the unaltered twin does not open")
	}
}

func TestLabelsAreChecked(t *testing.T) {
	k := newPlace(t).open(t)
	acme := newTenant(t, k)
	for name, l := range map[string]Label{
		"no owner":          {Kind: Record, ID: "x"},
		"a slug as owner":   {Owner: "acme", Kind: Record, ID: "x"},
		"a path as owner":   {Owner: "../../etc/passwd", Kind: Record, ID: "x"},
		"no kind":           {Owner: acme, ID: "x"},
		"a long kind":       {Owner: acme, Kind: Kind(strings.Repeat("k", 33)), ID: "x"},
		"no id":             {Owner: acme, Kind: Record},
		"a long id":         {Owner: acme, Kind: Record, ID: strings.Repeat("x", 1025)},
		"a name as end":     {Owner: acme, EndTenant: "bob", Kind: Record, ID: "x"},
		"a separator in it": {Owner: acme, Kind: "re/cord", ID: "x"},
	} {
		if _, err := k.Seal(l, []byte("text")); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.Seal(Label{Owner: tenant.NewUID(), Kind: Record, ID: "x"}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("a tenant without a key: %v", err)
	}
}

// No two labels may give the same bytes, however their texts are cut.
func FuzzLabelsDiffer(f *testing.F) {
	f.Add("a|b|c", "ab||c", uint64(1))
	f.Add("|\x00\x01a|c", "\x00\x01|a|c", uint64(0))
	f.Add("a|b|c", "a|b|c", uint64(1))
	f.Fuzz(func(t *testing.T, one, other string, revision uint64) {
		label := func(text string) Label {
			p := strings.SplitN(text+"||", "|", 3)
			return Label{EndTenant: tenant.UID(p[0]), Kind: Kind(p[1]), ID: p[2]}
		}
		if len(one) > 1<<16-3 || len(other) > 1<<16-3 {
			return // no part of a label that passes the checks is as long as that
		}
		a, b := label(one), label(other)
		a.Revision = revision
		if (a == b) != bytes.Equal(a.appendTo(nil), b.appendTo(nil)) {
			t.Errorf("%+v and %+v", a, b)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := newPlace(f).open(f)
	label := Label{Owner: newTenant(f, k), Kind: Record, ID: "x"}
	sealed := seal(f, k, label, "text")
	f.Add(sealed)
	f.Add(sealed[:Overhead])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if text, ok := opens(t, k, label, b); ok && !bytes.Equal(b, sealed) {
			t.Errorf("foreign bytes opened as %q", text)
		}
	})
}

func TestDestroyedTenantsDataIsNoise(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	acme, globex := newTenant(t, k), newTenant(t, k)
	label := Label{Owner: acme, Kind: Record, ID: "x"}
	twin := Label{Owner: globex, Kind: Record, ID: "x"}
	sealed, other := seal(t, k, label, "text"), seal(t, k, twin, "text")
	for range 2 {
		if err := k.DestroyTenant(acme); err != nil {
			t.Fatal(err)
		}
	}
	for name, keeper := range map[string]*Keeper{"the same keeper": k, "after a restart": p.open(t)} {
		if _, err := keeper.Open(label, sealed); !errors.Is(err, ErrDestroyed) || !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err := keeper.CreateTenant(acme); !errors.Is(err, ErrDestroyed) || !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: made again: %v", name, err)
		}
		if keeper.HasTenant(acme) || !keeper.HasTenant(globex) {
			t.Errorf("%s: HasTenant is wrong", name)
		}
		if _, ok := opens(t, keeper, twin, other); !ok {
			t.Errorf("%s: the other tenant's data does not open", name)
		}
	}
	if _, err := os.Stat(filepath.Join(p.folder, string(acme)+keySuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key's file: %v", err)
	}
	if err := k.DestroyTenant(tenant.NewUID()); !fault.Is(err, fault.NotFound) {
		t.Errorf("destroying what never was: %v", err)
	}
}

// A crash between the tombstone and the removal is finished by the next call.
func TestInterruptedDestructionIsFinished(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	acme := newTenant(t, k)
	if err := writeNew(k.keys, string(acme)+destroyedSuffix, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Seal(Label{Owner: acme, Kind: Record, ID: "x"}, nil); !errors.Is(err, ErrDestroyed) {
		t.Errorf("between: %v", err)
	}
	if err := k.DestroyTenant(acme); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.folder, string(acme)+keySuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key's file: %v", err)
	}
}

func TestTenantsKeyFilesCannotBeSwapped(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	acme, globex := newTenant(t, k), newTenant(t, k)
	if err := k.CreateTenant(acme); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second key: %v", err)
	}
	from, to := filepath.Join(p.folder, string(acme)+keySuffix), filepath.Join(p.folder, string(globex)+keySuffix)
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
	again := p.open(t)
	if _, err := again.Seal(Label{Owner: globex, Kind: Record, ID: "x"}, nil); !errors.Is(err, ErrAltered) {
		t.Errorf("globex with acme's key: %v", err)
	}
	if _, err := again.Seal(Label{Owner: acme, Kind: Record, ID: "x"}, nil); err != nil {
		t.Errorf("acme: %v", err)
	}
	for i := range text {
		text[i] ^= 1
		if err := os.WriteFile(from, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.open(t).Seal(Label{Owner: acme, Kind: Record, ID: "x"}, nil); !errors.Is(err, ErrAltered) {
			t.Errorf("byte %d altered: %v", i, err)
		}
		text[i] ^= 1
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	k := newPlace(t).open(t)
	acme := newTenant(t, k)
	seal(t, k, Label{Owner: acme, Kind: Record, ID: "x"}, "text")
	sealer, err := k.NodeSealer(Journal)
	if err != nil {
		t.Fatal(err)
	}
	mac, err := k.MAC(Artefacts)
	if err != nil {
		t.Fatal(err)
	}
	root := &RootKey{secret: k.root}
	kek, err := k.account("test", acme)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Keeper *Keeper
		inner  *Keeper
		root   RootKey
	}
	secrets := []*key{k.root, kek.kek, kek.own.parent, sealer.ring.parent, mac.key}
	for _, v := range []any{k, root, *root, sealer, mac, holder{k, k, *root}, &holder{k, k, *root}, []any{k, root}} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		out.Write(j)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for _, s := range secrets {
			for _, form := range []string{"%s", "%x", "%X", "%d", "%#v"} {
				shown := strings.Trim(fmt.Sprintf(form, s.bytes[:]), "[]")
				shown = strings.TrimSuffix(strings.TrimPrefix(shown, "byte{"), "}")
				if strings.Contains(out.String(), shown) {
					t.Errorf("%T shows a key as %s", v, form)
				}
			}
		}
	}
	if !strings.Contains(fmt.Sprintf("%+v", k), hidden) {
		t.Error("a Keeper does not print its placeholder")
	}
}

func TestManyAtOnce(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	k.perShard = 1 // so that keys are forgotten and read again all the time
	var uids []tenant.UID
	for range 100 {
		uids = append(uids, newTenant(t, k))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				l := Label{Owner: uids[(i*7+g)%len(uids)], Kind: Record, ID: fmt.Sprint(i), Revision: uint64(g)}
				sealed, err := k.Seal(l, []byte(l.Owner))
				if err != nil {
					t.Error(err)
					return
				}
				if text, ok := opens(t, k, l, sealed); !ok || text != string(l.Owner) {
					t.Errorf("%+v opened as %q, %v", l, text, ok)
				}
			}
		})
	}
	wg.Wait()
	for i := range k.shards {
		if n := len(k.shards[i].accounts); n > 1 {
			t.Errorf("shard %d holds %d accounts", i, n)
		}
	}
}

func TestHiddenNamesTellNothing(t *testing.T) {
	p := newPlace(t)
	k := p.open(t)
	acme, globex := newTenant(t, k), newTenant(t, k)
	hide := func(k *Keeper, owner tenant.UID, kind Kind, text string) string {
		t.Helper()
		name, err := k.Hide(owner, kind, text)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	name := hide(k, acme, Code, "orders")
	if len(name) != 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("name %q", name)
	}
	if again := hide(p.open(t), acme, Code, "orders"); again != name {
		t.Errorf("after a restart %q, not %q", again, name)
	}
	if hide(k, globex, Code, "orders") == name || hide(k, acme, Image, "orders") == name || hide(k, acme, Code, "order") == name {
		t.Error("names of different things are the same")
	}
}

func BenchmarkSeal1K(b *testing.B) {
	k := newPlace(b).open(b)
	l := Label{Owner: newTenant(b, k), Kind: Event, ID: "6f9c0a52-6b0f-4f0e-8f5e-0c8d0d8f7a11", Revision: 1}
	plaintext := make([]byte, 1024)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(l, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen1K(b *testing.B) {
	k := newPlace(b).open(b)
	l := Label{Owner: newTenant(b, k), Kind: Event, ID: "6f9c0a52-6b0f-4f0e-8f5e-0c8d0d8f7a11", Revision: 1}
	sealed := seal(b, k, l, strings.Repeat("x", 1024))
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(l, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
