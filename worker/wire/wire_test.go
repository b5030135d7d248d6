package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func body(t *testing.T, frame []byte, want Type) []byte {
	t.Helper()
	h, b, rest, need, err := Next(frame, MaxToProcess)
	if err != nil || need != 0 || len(rest) != 0 || h.Type != want {
		t.Fatalf("Next: header %+v, %d bytes left, need %d, error %v; want one whole frame of type %d", h, len(rest), need, err, want)
	}
	return b
}

func TestFramesRoundTrip(t *testing.T) {
	run := RunBody{Seed: [32]byte{1, 2, 3}, ClockBase: time.Unix(1_700_000_000, 5).UTC(), Timeout: 3 * time.Second, FuelLimit: 9, RequestID: "r-1",
		LogLimit: 10, OutputLimit: 11, StreamLimit: 12, Window: 13, Env: []string{"A=1", "B="}, Context: []byte("{}"), Event: []byte("event")}
	var gotRun RunBody
	if err := ParseRun(body(t, AppendRun(nil, 7, &run), Run), &gotRun); err != nil || !reflect.DeepEqual(run, gotRun) {
		t.Errorf("run: got %+v, %v; want %+v", gotRun, err, run)
	}
	done := DoneBody{Status: StatusTimeout, Fresh: true, Last: true, Fuel: 1, MaxMemory: 2, Duration: 3, LogDropped: 4, Output: []byte("o"), Log: []byte("l")}
	var gotDone DoneBody
	if err := ParseDone(body(t, AppendDone(nil, 7, &done), Done), &gotDone); err != nil || !reflect.DeepEqual(done, gotDone) {
		t.Errorf("done: got %+v, %v; want %+v", gotDone, err, done)
	}
	load := LoadBody{MemoryLimit: 1 << 27, ArtifactSize: 4096}
	if got, err := ParseLoad(body(t, AppendLoad(nil, load), Load)); err != nil || got != load {
		t.Errorf("load: got %+v, %v; want %+v", got, err, load)
	}
	ready := ReadyBody{Version: Version, Restore: "hot-cold", Landlock: 7}
	if got, err := ParseReady(body(t, AppendReady(nil, ready), Ready)); err != nil || got != ready {
		t.Errorf("ready: got %+v, %v; want %+v", got, err, ready)
	}
	files := &PackageBody{Language: "python", Interpreter: "/usr/bin/python3", Handler: "app.handler", Env: []string{"A=1"},
		MemoryLimit: 1 << 27, InitTimeout: time.Second, LogLimit: 9, Archive: []byte("PK")}
	if got, err := ParsePackage(body(t, AppendPackage(nil, files), LoadPackage)); err != nil || !reflect.DeepEqual(got, files) {
		t.Errorf("package: got %+v, %v; want %+v", got, err, files)
	}
	for _, warmup := range [][]byte{nil, {}, []byte("{}")} {
		build := &BuildBody{Module: []byte("module"), Env: []string{"A=1"}, MemoryLimit: 3, Warmup: warmup}
		got, err := ParseBuild(body(t, AppendBuild(nil, build), Build))
		if err != nil || !bytes.Equal(got.Module, build.Module) || (got.Warmup == nil) != (warmup == nil) {
			t.Errorf("build with warm-up %q: got %+v, %v", warmup, got, err)
		}
	}
	built := &BuiltBody{Failure: "f", Model: "reactor", Warnings: []string{"w"}, Artifact: []byte("a")}
	if got, err := ParseBuilt(body(t, AppendBuilt(nil, built), Built)); err != nil || !reflect.DeepEqual(built, got) {
		t.Errorf("built: got %+v, %v; want %+v", got, err, built)
	}
	if op, request, err := ParseHostCall(body(t, AppendHostCall(nil, 7, 9, []byte("r")), HostCall)); err != nil || op != 9 || string(request) != "r" {
		t.Errorf("host call: got %d %q, %v", op, request, err)
	}
	if _, _, err := ParseHostCall(body(t, AppendHostCall(nil, 7, 9, make([]byte, MaxHostRequest+1)), HostCall)); err == nil {
		t.Error("a request over its bound was accepted")
	}
	if took, reply, err := ParseHostReply(body(t, AppendHostReply(nil, 7, 9, []byte("r")), HostReply)); err != nil || took != 9 || string(reply) != "r" {
		t.Errorf("host reply: got %d %q, %v", took, reply, err)
	}
	if kind, err := ParseBegin(body(t, AppendBegin(nil, 7, "text/plain"), Begin)); err != nil || kind != "text/plain" {
		t.Errorf("begin: got %q, %v", kind, err)
	}
	if piece, err := ParseChunk(body(t, AppendChunk(nil, 7, []byte("p")), Chunk)); err != nil || string(piece) != "p" {
		t.Errorf("chunk: got %q, %v", piece, err)
	}
	if n, err := ParseCredit(body(t, AppendCredit(nil, 7, 9), Credit)); err != nil || n != 9 {
		t.Errorf("credit: got %d, %v", n, err)
	}
	if why, err := ParseCancel(body(t, AppendCancel(nil, 7, Steal), Cancel)); err != nil || why != Steal {
		t.Errorf("cancel: got %v, %v", why, err)
	}
}

func TestPiecesOutOfBoundsAreRefused(t *testing.T) {
	for name, size := range map[string]int{"an empty piece": 0, "a piece over its bound": MaxChunk + 1} {
		if _, err := ParseChunk(body(t, AppendChunk(nil, 7, make([]byte, size)), Chunk)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, kind := range []string{"a\nb", "a\x7f", "ä", strings.Repeat("x", MaxContentType+1)} {
		if _, err := ParseBegin(body(t, AppendBegin(nil, 7, kind), Begin)); err == nil {
			t.Errorf("the content type %q was accepted", kind)
		}
	}
}

func TestNextWaitsForWholeFrames(t *testing.T) {
	frame := AppendLoaded(AppendReturned(nil, 3), "no")
	for n := range frame {
		h, b, _, need, err := Next(frame[:n], 100)
		whole := n >= HeaderSize // the first frame has no body
		if err != nil || (b != nil) != whole || (!whole && need != HeaderSize) || (whole && h.Handle != 3) {
			t.Fatalf("%d bytes: header %+v, body %v, need %d, error %v", n, h, b, need, err)
		}
	}
}

func TestHostileHeadersAreRefused(t *testing.T) {
	good := AppendLoaded(nil, "")
	for name, breakIt := range map[string]func([]byte){
		"length over the bound": func(b []byte) { b[3] = 0xff },
		"other version":         func(b []byte) { b[5] = Version + 1 },
		"reserved bytes":        func(b []byte) { b[6] = 1 },
	} {
		b := bytes.Clone(good)
		breakIt(b)
		if _, _, _, _, err := Next(b, 1000); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: error %v, want ErrFrame", name, err)
		}
	}
}

// FuzzFromWorker feeds what a broken worker might send: no body may panic,
// and what is accepted encodes to the same bytes.
func FuzzFromWorker(f *testing.F) {
	f.Add(AppendDone(nil, 1, &DoneBody{Output: []byte("x"), Log: []byte("y")}))
	f.Add(AppendReady(nil, ReadyBody{Version: 1, Restore: "copy"}))
	f.Add(AppendLoaded(nil, "no"))
	f.Add(AppendReturned(nil, 1))
	f.Add(AppendHostCall(nil, 1, 1, []byte("request")))
	f.Add(AppendBegin(nil, 1, "text/plain"))
	f.Add(AppendChunk(nil, 1, []byte("piece")))
	f.Add(AppendBuilt(nil, &BuiltBody{Model: "command", Artifact: []byte("a")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, _, need, err := Next(b, MaxFromWorker)
		if err != nil || need != 0 {
			return
		}
		var again []byte
		switch h.Type {
		case Done:
			var d DoneBody
			if ParseDone(body, &d) != nil {
				return
			}
			again = AppendDone(nil, h.Handle, &d)
		case Ready:
			v, err := ParseReady(body)
			if err != nil {
				return
			}
			again = AppendReady(nil, v)
		case Loaded:
			v, err := ParseLoaded(body)
			if err != nil {
				return
			}
			again = AppendLoaded(nil, v)
		case Built:
			v, err := ParseBuilt(body)
			if err != nil {
				return
			}
			again = AppendBuilt(nil, v)
		case HostCall:
			op, request, err := ParseHostCall(body)
			if err != nil {
				return
			}
			again = AppendHostCall(nil, h.Handle, op, request)
		case Begin:
			kind, err := ParseBegin(body)
			if err != nil {
				return
			}
			again = AppendBegin(nil, h.Handle, kind)
		case Chunk:
			piece, err := ParseChunk(body)
			if err != nil {
				return
			}
			if len(piece) == 0 || len(piece) > MaxChunk {
				t.Fatalf("a piece of %d bytes was accepted", len(piece))
			}
			again = AppendChunk(nil, h.Handle, piece)
		default:
			return
		}
		if !bytes.Equal(again[HeaderSize:], body) {
			t.Fatalf("accepted body %x encodes to %x", body, again[HeaderSize:])
		}
	})
}

// FuzzToProcess does the same for what a worker reads.
func FuzzToProcess(f *testing.F) {
	f.Add(AppendRun(nil, 1, &RunBody{Env: []string{"A=1"}, Event: []byte("{}")}))
	f.Add(AppendLoad(nil, LoadBody{}))
	f.Add(AppendBuild(nil, &BuildBody{Module: []byte("m")}))
	f.Add(AppendCancel(nil, 1, Expired))
	f.Add(AppendHostReply(nil, 1, 5, []byte("reply")))
	f.Add(AppendCredit(nil, 1, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, _, need, err := Next(b, MaxToProcess)
		if err != nil || need != 0 {
			return
		}
		switch h.Type {
		case Run:
			var c RunBody
			if ParseRun(body, &c) == nil && !bytes.Equal(AppendRun(nil, h.Handle, &c)[HeaderSize:], body) {
				t.Fatal("an accepted call encodes to other bytes")
			}
		case HostReply:
			if took, reply, err := ParseHostReply(body); err == nil && !bytes.Equal(AppendHostReply(nil, h.Handle, took, reply)[HeaderSize:], body) {
				t.Fatal("an accepted reply encodes to other bytes")
			}
		case Credit:
			if n, err := ParseCredit(body); err == nil && !bytes.Equal(AppendCredit(nil, h.Handle, n)[HeaderSize:], body) {
				t.Fatal("an accepted credit encodes to other bytes")
			}
		case Build:
			if v, err := ParseBuild(body); err == nil && !bytes.Equal(AppendBuild(nil, v)[HeaderSize:], body) {
				t.Fatal("an accepted build encodes to other bytes")
			}
		}
	})
}
