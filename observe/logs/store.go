package logs

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// ReadAction is the action that reading a function's log is decided under.
const ReadAction = "logs:FilterLogEvents"

// Config is how a Store is opened.
type Config struct {
	// Folder holds the segment files.
	Folder *os.Root
	Keys   *secret.Keeper
	Log    *slog.Logger
	// Every is how often gathered entries are written (default 500 ms).
	Every time.Duration
	// SegmentBytes is the size of one file, and MaxBytes of all (defaults
	// 64 MiB and 2 GiB); over it the oldest file is deleted.
	SegmentBytes int64
	MaxBytes     int64
	// BufferBytes bounds what one function may gather between two writes
	// (default 1 MiB); entries over it lose their text, and say so.
	BufferBytes int
}

// Store keeps entries. If its files are lost or damaged, logs are missing;
// nothing else depends on them.
type Store struct {
	cfg       Config
	functions sync.Map // tenant.UID -> *stream
	mu        sync.Mutex
	segments  []*segment
	stop      chan struct{}
	done      chan struct{}
}

// stream is one function's entries.
type stream struct {
	account tenant.UID
	id      tenant.UID

	mu      sync.Mutex
	pending []byte // encoded entries, each with its length
	count   uint64
	blocks  []place
	next    uint64        // number of the next block
	news    chan struct{} // closed when something is written
}

// place is where a block lies.
type place struct {
	segment uint64
	offset  int64
	size    uint32
	number  uint64
}

type segment struct {
	number uint64
	size   int64
}

// headBytes is a block's header: magic (4), size of the sealed bytes (4),
// number (8), account (26), function (26), checksum of the header (4).
const (
	headBytes = 4 + 4 + 8 + 26 + 26 + 4
	magic     = 0x31676c63 // "clg1"
	maxBlock  = 64 << 20
)

// keepBuffer is the largest buffer that a function keeps between two writes.
const keepBuffer = 64 << 10

// MaxPageBytes is how much text a page gathers, but for the rest of its last
// block: entries can be large, and a page is held in memory.
const MaxPageBytes = 4 << 20

// Open reads the index of the files that are there and begins to write.
func Open(cfg Config) (*Store, error) {
	orDefault(&cfg.Every, 500*time.Millisecond)
	orDefault(&cfg.SegmentBytes, 64<<20)
	orDefault(&cfg.MaxBytes, 2<<30)
	orDefault(&cfg.BufferBytes, 1<<20)
	s := &Store{cfg: cfg, stop: make(chan struct{}), done: make(chan struct{})}
	if err := s.index(); err != nil {
		return nil, fault.Wrap("logs.Open", fault.Unavailable, err, "the logs' folder cannot be read")
	}
	go s.run()
	return s, nil
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Close writes what is gathered and stops.
func (s *Store) Close() error {
	close(s.stop)
	<-s.done
	return s.flush()
}

// Append takes the log of a call. It waits for no disk.
func (s *Store) Append(c *call.Call, o *call.Outcome) {
	f := s.stream(c.Target.AccountUID, c.Target.FunctionUID)
	e := newEntry(c, o)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending)+len(e.Text) > s.cfg.BufferBytes {
		e.Text = "[carrel: " + strconv.Itoa(len(e.Text)) + " bytes dropped: this function prints more than is kept]\n"
		if len(f.pending) > 2*s.cfg.BufferBytes {
			return // not even the notices fit any more
		}
	}
	var room [512]byte
	f.pending = fields.Text(f.pending, e.append(room[:0]))
	f.count++
}

func (s *Store) stream(account, id tenant.UID) *stream {
	if v, found := s.functions.Load(id); found {
		return v.(*stream)
	}
	v, _ := s.functions.LoadOrStore(id, &stream{account: account, id: id, news: make(chan struct{})})
	return v.(*stream)
}

func (s *Store) run() {
	defer close(s.done)
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			if err := s.flush(); err != nil {
				s.cfg.Log.Error("function logs could not be written and are lost", "error", err)
			}
		}
	}
}

// flush writes the gathered entries of all functions as one block each.
func (s *Store) flush() error {
	var out []byte
	type written struct {
		f  *stream
		at place
	}
	var blocks []written
	var failed error
	s.functions.Range(func(_, v any) bool {
		f := v.(*stream)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.count == 0 {
			return true
		}
		plain := fields.Uint(nil, schema)
		plain = append(fields.Uint(plain, f.count), f.pending...)
		number := f.next
		f.pending, f.count = f.pending[:0], 0
		if cap(f.pending) > keepBuffer {
			f.pending = nil // or every function that ever printed much would hold it
		}
		sealed, err := s.cfg.Keys.Seal(f.label(number), plain)
		if err != nil {
			failed = err // the tenant's key is gone, so must its log be
			return true
		}
		f.next++
		blocks = append(blocks, written{f, place{offset: int64(len(out)), size: uint32(len(sealed)), number: number}})
		out = append(appendHead(out, f, number, len(sealed)), sealed...)
		return true
	})
	if len(out) == 0 {
		return failed
	}
	seg, at, err := s.write(out)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		b.at.segment, b.at.offset = seg, at+b.at.offset
		b.f.mu.Lock()
		b.f.blocks = append(b.f.blocks, b.at)
		close(b.f.news)
		b.f.news = make(chan struct{})
		b.f.mu.Unlock()
	}
	return failed
}

func (f *stream) label(number uint64) secret.Label {
	return secret.Label{Owner: f.account, Kind: secret.Log, ID: string(f.id), Revision: number}
}

func appendHead(b []byte, f *stream, number uint64, size int) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint64(b, number)
	b = append(b, f.account...)
	b = append(b, f.id...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// write appends to the newest segment and gives where the bytes begin.
func (s *Store) write(out []byte) (number uint64, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 || s.segments[len(s.segments)-1].size+int64(len(out)) > s.cfg.SegmentBytes {
		next := uint64(1)
		if n := len(s.segments); n > 0 {
			next = s.segments[n-1].number + 1
		}
		s.segments = append(s.segments, &segment{number: next})
		s.shrink()
	}
	seg := s.segments[len(s.segments)-1]
	file, err := s.cfg.Folder.OpenFile(fileName(seg.number), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	if _, err := file.WriteAt(out, seg.size); err != nil {
		file.Truncate(seg.size)
		return 0, 0, err
	}
	offset = seg.size
	seg.size += int64(len(out))
	return seg.number, offset, nil
}

// shrink deletes the oldest files while all together are over their bound.
func (s *Store) shrink() {
	var total int64
	for _, g := range s.segments {
		total += g.size
	}
	for len(s.segments) > 1 && total > s.cfg.MaxBytes {
		oldest := s.segments[0]
		if err := s.cfg.Folder.Remove(fileName(oldest.number)); err != nil && !os.IsNotExist(err) {
			s.cfg.Log.Error("an old log file cannot be deleted", "error", err)
			return
		}
		total -= oldest.size
		s.segments = s.segments[1:]
		first := s.segments[0].number
		s.functions.Range(func(_, v any) bool {
			f := v.(*stream)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.blocks = slices.DeleteFunc(f.blocks, func(p place) bool { return p.segment < first })
			return true
		})
	}
}

func fileName(number uint64) string { return "log-" + strconv.FormatUint(number, 10) }

// index finds the blocks in the files. A file ends where its first block
// that does not fit begins: that one was being written when the node died.
func (s *Store) index() error {
	entries, err := fs.ReadDir(s.cfg.Folder.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, found := strings.CutPrefix(e.Name(), "log-")
		number, err := strconv.ParseUint(text, 10, 64)
		if !found || err != nil {
			continue
		}
		s.segments = append(s.segments, &segment{number: number})
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return int(int64(a.number) - int64(b.number)) })
	for _, seg := range s.segments {
		if err := s.indexSegment(seg); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) indexSegment(seg *segment) error {
	file, err := s.cfg.Folder.Open(fileName(seg.number))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var head [headBytes]byte
	for {
		if _, err := file.ReadAt(head[:], seg.size); err != nil {
			return ignoreEnd(err)
		}
		p, account, id, ok := parseHead(head[:])
		end := seg.size + headBytes + int64(p.size)
		if !ok || end > info.Size() {
			return nil
		}
		p.segment, p.offset = seg.number, seg.size
		f := s.stream(account, id)
		f.blocks = append(f.blocks, p)
		f.next = max(f.next, p.number+1)
		seg.size = end
	}
}

func ignoreEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

func parseHead(b []byte) (p place, account, id tenant.UID, ok bool) {
	sum := binary.LittleEndian.Uint32(b[headBytes-4:])
	if binary.LittleEndian.Uint32(b) != magic || sum != crc32.ChecksumIEEE(b[:headBytes-4]) {
		return place{}, "", "", false
	}
	p.size, p.number = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	account, err1 := tenant.ParseUID(string(b[16:42]))
	id, err2 := tenant.ParseUID(string(b[42:68]))
	return p, account, id, p.size <= maxBlock && err1 == nil && err2 == nil
}

// Page is one answer of Read.
type Page struct {
	Entries []Entry `json:"entries"`
	// Next is where the next page begins: the number of the next block.
	Next uint64 `json:"next"`
	// More tells whether there is one already.
	More bool `json:"more"`
}

// Query says which entries to read.
type Query struct {
	// ARN is the function's name, which the grant must be for; Function is
	// its internal id.
	ARN      string
	Function tenant.UID
	// From is the block to begin with, and Limit how many entries are wanted.
	From  uint64
	Limit int
}

// Read gives a function's entries from a block on, oldest first: whole
// blocks until as many entries as wanted, or MaxPageBytes, are there.
//
// It wants a grant for ReadAction on the function's ARN.
func (s *Store) Read(g iam.Grant, q Query) (Page, error) {
	if err := g.Check(ReadAction, q.ARN); err != nil {
		return Page{}, err
	}
	v, found := s.functions.Load(q.Function)
	if !found {
		return Page{Next: q.From}, nil
	}
	f := v.(*stream)
	f.mu.Lock()
	blocks := slices.Clone(f.blocks)
	f.mu.Unlock()
	page, size := Page{Next: q.From}, 0
	for _, p := range blocks {
		if p.number < q.From {
			continue
		}
		if len(page.Entries) >= q.Limit || size >= MaxPageBytes {
			page.More = true
			break
		}
		entries, err := s.block(f, p)
		if err != nil {
			return Page{}, err
		}
		page.Entries = append(page.Entries, entries...)
		size += int(p.size)
		page.Next = p.number + 1
	}
	return page, nil
}

func (s *Store) block(f *stream, p place) ([]Entry, error) {
	const op = "logs.Read"
	file, err := s.cfg.Folder.Open(fileName(p.segment))
	if os.IsNotExist(err) {
		return nil, nil // it was deleted as the oldest meanwhile
	}
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "a log file cannot be opened")
	}
	defer file.Close()
	sealed := make([]byte, p.size)
	if _, err := file.ReadAt(sealed, p.offset+headBytes); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "a log file cannot be read")
	}
	plain, err := s.cfg.Keys.Open(f.label(p.number), sealed)
	if err != nil {
		return nil, err
	}
	entries, err := decodeBlock(plain)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "a block of the log is malformed")
	}
	return entries, nil
}

// News gives a channel that is closed when something more of the function's
// log is written.
func (s *Store) News(account, fn tenant.UID) <-chan struct{} {
	f := s.stream(account, fn)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.news
}
