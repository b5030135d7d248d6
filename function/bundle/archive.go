package bundle

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// The layout is that of PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local
// header), 4.3.12 (central directory) and 4.3.16 (end of central directory).
const (
	localSize   = 30
	centralSize = 46
	endSize     = 22
	// minDescriptor is the least size of the data descriptor after an entry
	// whose flagDescriptor is set (4.3.9).
	minDescriptor = 12

	localMagic   = 0x04034b50
	centralMagic = 0x02014b50
	endMagic     = 0x06054b50

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagPatched    = 1 << 5
	flagStrong     = 1 << 6
	flagMasked     = 1 << 13

	methodStore   = 0
	methodDeflate = 8

	maxName = 512
)

// The file types in the upper half of the external attributes, where the
// archive was made on Unix (as in stat.h).
const (
	modeType = 0xf000
	modeDir  = 0x4000
	modeFile = 0x8000
	modeSetX = 0x0c00 // setuid, setgid
)

type entry struct {
	name             string
	flags, method    uint16
	crc              uint32
	packed, unpacked int64
	offset           int64
	data, end        int64 // filled from the local header
}

// readEntries checks the whole archive, all but the content of its entries.
func readEntries(b []byte, l Limits) ([]entry, error) {
	directory, count, err := findDirectory(b, l)
	if err != nil {
		return nil, err
	}
	entries, err := readDirectory(b, directory, count)
	if err != nil {
		return nil, err
	}
	if err := checkEntries(entries, l); err != nil {
		return nil, err
	}
	return entries, checkLayout(b, entries, directory)
}

// openArchive checks the whole archive and inflates its module.
func openArchive(b []byte, l Limits) ([]byte, error) {
	entries, err := readEntries(b, l)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		if entries[i].name == ModuleName {
			return inflate(b, &entries[i])
		}
	}
	for i := range entries {
		if path.Base(entries[i].name) == ModuleName {
			return nil, invalid("%s is in the folder %q of the archive; it has to be at the root.", ModuleName, path.Dir(entries[i].name))
		}
	}
	return nil, invalid("The archive has no %s.", ModuleName)
}

// findDirectory reads the end record, which has to be the very end.
func findDirectory(b []byte, l Limits) (offset int64, count int, err error) {
	at := -1
	for i := len(b) - endSize; i >= 0 && i >= len(b)-endSize-0xffff; i-- {
		if binary.LittleEndian.Uint32(b[i:]) == endMagic && i+endSize+int(binary.LittleEndian.Uint16(b[i+20:])) == len(b) {
			at = i
			break
		}
	}
	if at < 0 {
		return 0, 0, broken("it has no end record")
	}
	e := b[at:]
	disk, start := binary.LittleEndian.Uint16(e[4:]), binary.LittleEndian.Uint16(e[6:])
	here, all := binary.LittleEndian.Uint16(e[8:]), binary.LittleEndian.Uint16(e[10:])
	size, offset := int64(binary.LittleEndian.Uint32(e[12:])), int64(binary.LittleEndian.Uint32(e[16:]))
	switch {
	case all == 0xffff || size == 0xffffffff || offset == 0xffffffff:
		return 0, 0, broken("zip64 archives are not taken")
	case disk != 0 || start != 0 || here != all:
		return 0, 0, broken("it is one part of several")
	case int(all) > l.Entries:
		return 0, 0, invalid("The archive has %d entries; at most %d are taken.", all, l.Entries)
	case offset+size != int64(at):
		return 0, 0, broken("its directory is not where its end record says")
	}
	return offset, int(all), nil
}

// readDirectory reads exactly the entries that the end record counts.
func readDirectory(b []byte, offset int64, count int) ([]entry, error) {
	entries := make([]entry, 0, count)
	rest := b[offset:]
	for range count {
		if len(rest) < centralSize || binary.LittleEndian.Uint32(rest) != centralMagic {
			return nil, broken("its directory is cut short")
		}
		n := int(binary.LittleEndian.Uint16(rest[28:]))
		whole := centralSize + n + int(binary.LittleEndian.Uint16(rest[30:])) + int(binary.LittleEndian.Uint16(rest[32:]))
		if n > maxName {
			return nil, broken("a name in it is longer than %d bytes", maxName)
		}
		if len(rest) < whole {
			return nil, broken("its directory is cut short")
		}
		e := entry{
			name:     string(rest[centralSize : centralSize+n]),
			flags:    binary.LittleEndian.Uint16(rest[8:]),
			method:   binary.LittleEndian.Uint16(rest[10:]),
			crc:      binary.LittleEndian.Uint32(rest[16:]),
			packed:   int64(binary.LittleEndian.Uint32(rest[20:])),
			unpacked: int64(binary.LittleEndian.Uint32(rest[24:])),
			offset:   int64(binary.LittleEndian.Uint32(rest[42:])),
		}
		if binary.LittleEndian.Uint16(rest[34:]) != 0 {
			return nil, broken("it is one part of several")
		}
		if err := checkKind(e.name, binary.LittleEndian.Uint32(rest[38:])); err != nil {
			return nil, err
		}
		entries = append(entries, e)
		rest = rest[whole:]
	}
	if binary.LittleEndian.Uint32(rest) != endMagic {
		return nil, broken("its directory has more entries than its end record counts")
	}
	return entries, nil
}

// checkKind lets plain files and folders through. The mode means something
// only where the maker was Unix or macOS, but other makers leave it
// zero, so it is looked at always.
func checkKind(name string, attributes uint32) error {
	mode := attributes >> 16
	switch kind := mode & modeType; {
	case kind != 0 && kind != modeFile && kind != modeDir:
		return invalid("%q in the archive is a link, device or other special file.", name)
	case mode&modeSetX != 0:
		return invalid("%q in the archive has the setuid or setgid bit.", name)
	case kind == modeDir && !strings.HasSuffix(name, "/"), kind == modeFile && strings.HasSuffix(name, "/"):
		return invalid("%q in the archive is a file by one account and a folder by another.", name)
	}
	return nil
}

// checkEntries looks at names, methods and declared sizes.
func checkEntries(entries []entry, l Limits) error {
	seen := make(map[string]struct{}, len(entries))
	var total int64
	for i := range entries {
		e := &entries[i]
		if err := checkName(e.name); err != nil {
			return err
		}
		// Folded, as two names that differ by case only are one file on many systems.
		folded := strings.TrimSuffix(e.name, "/")
		if !l.exact {
			folded = strings.ToLower(folded)
		}
		if _, twice := seen[folded]; twice {
			return invalid("%q is in the archive more than once.", e.name)
		}
		seen[folded] = struct{}{}
		switch {
		case e.flags&(flagEncrypted|flagStrong|flagMasked) != 0:
			return invalid("%q in the archive is encrypted.", e.name)
		case e.flags&flagPatched != 0 || e.method != methodStore && e.method != methodDeflate:
			return invalid("%q in the archive is compressed by method %d; only stored (0) and deflated (8) entries are taken.", e.name, e.method)
		case e.packed == 0xffffffff || e.unpacked == 0xffffffff || e.offset == 0xffffffff:
			return broken("zip64 archives are not taken")
		case e.method == methodStore && e.packed != e.unpacked:
			return broken("%q is stored and has two sizes", e.name)
		case strings.HasSuffix(e.name, "/") && e.unpacked != 0:
			return broken("the folder %q has content", e.name)
		case e.unpacked > 1<<20 && e.unpacked/l.Ratio > e.packed:
			return invalid("%q in the archive grows more than %d-fold.", e.name, l.Ratio)
		}
		if total += e.unpacked; total >= l.Unpacked {
			return tooBig(l)
		}
	}
	return nil
}

// checkName refuses names that mean a place outside of a folder, on any
// system. A folder's name ends with a slash.
func checkName(name string) error {
	bad := func(why string) error {
		return invalid("The name %q in the archive is refused: %s.", name, why)
	}
	switch {
	case name == "":
		return bad("it is empty")
	case !utf8.ValidString(name):
		return bad("it is not UTF-8")
	case strings.ContainsRune(name, '\\'):
		return bad("it has a backslash")
	case strings.ContainsRune(name, ':'):
		return bad("it has a colon, as of a drive or a stream")
	case strings.HasPrefix(name, "/"):
		return bad("it is absolute")
	case strings.HasPrefix(name, ModuleName+"/"):
		return bad("it makes a folder of the module")
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return bad("it has a control character")
		}
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return bad("it has an empty, '.' or '..' part")
		}
	}
	return nil
}

// checkLayout holds each local header against the directory and makes sure
// that no two entries, and no entry and the directory, share a byte.
func checkLayout(b []byte, entries []entry, directory int64) error {
	order := make([]*entry, len(entries))
	for i := range entries {
		e := &entries[i]
		order[i] = e
		if e.offset+localSize > directory {
			return broken("%q lies outside of it", e.name)
		}
		h := b[e.offset:]
		n, extra := int64(binary.LittleEndian.Uint16(h[26:])), int64(binary.LittleEndian.Uint16(h[28:]))
		e.data = e.offset + localSize + n + extra
		e.end = e.data + e.packed
		if e.flags&flagDescriptor != 0 {
			e.end += minDescriptor
		}
		switch {
		case binary.LittleEndian.Uint32(h) != localMagic || e.end > directory:
			return broken("%q lies outside of it", e.name)
		case string(h[localSize:localSize+n]) != e.name,
			binary.LittleEndian.Uint16(h[6:])&^flagMasked != e.flags&^flagMasked,
			binary.LittleEndian.Uint16(h[8:]) != e.method:
			return broken("%q is described in two ways", e.name)
		case !sameSizes(h, e):
			return broken("%q is described in two ways", e.name)
		}
	}
	slices.SortFunc(order, func(x, y *entry) int { return int(x.offset - y.offset) })
	var end int64
	for _, e := range order {
		if e.offset < end {
			return invalid("%q in the archive overlaps with another entry.", e.name)
		}
		end = e.end
	}
	if len(order) > 0 && order[0].offset != 0 {
		return broken("it does not begin with its first entry")
	}
	return nil
}

// sameSizes compares checksum and sizes; where a descriptor follows the data
// the local header may have zeroes, or the marks of zip64.
func sameSizes(h []byte, e *entry) bool {
	crc, packed, unpacked := binary.LittleEndian.Uint32(h[14:]), int64(binary.LittleEndian.Uint32(h[18:])), int64(binary.LittleEndian.Uint32(h[22:]))
	if e.flags&flagDescriptor != 0 && crc == 0 && (packed == 0 || packed == 0xffffffff) && (unpacked == 0 || unpacked == 0xffffffff) {
		return true
	}
	return crc == e.crc && packed == e.packed && unpacked == e.unpacked
}

// inflate gives the content of an entry, which has to be exactly as long as
// the directory says and no longer: the bound holds while reading.
func inflate(b []byte, e *entry) ([]byte, error) {
	packed := b[e.data : e.data+e.packed]
	content := packed
	if e.method == methodDeflate {
		r := flate.NewReader(bytes.NewReader(packed))
		// Grown as it is read: a declared size alone takes no memory.
		var out bytes.Buffer
		n, err := io.Copy(&out, io.LimitReader(r, e.unpacked+1))
		if err != nil || n != e.unpacked {
			return nil, damaged(e)
		}
		content = out.Bytes()
	}
	if crc32.ChecksumIEEE(content) != e.crc {
		return nil, broken("the checksum of %q is wrong", e.name)
	}
	if !bytes.HasPrefix(content, wasmMagic) {
		return nil, invalid("%s in the archive is not a WebAssembly module.", e.name)
	}
	return content, nil
}
