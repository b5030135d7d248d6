//go:build linux

package bus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The form of a record in the server's block files, as of its version 2.15:
// length (with a flag for headers), sequence (with two flags), time, length of
// the subject, then the rest. Only what the check needs is named.
const (
	recordHead  = 22
	headersFlag = 1 << 31
	erasedFlag  = 1 << 63
	tombFlag    = 1 << 62
	// largestRecord is more than any message of ours can take.
	largestRecord = 2 * MaxPayload
	// largestGap bounds how far sequences may jump inside one block. A block
	// has some megabytes and a record at least thirty bytes, so real gaps are
	// well below a million.
	largestGap = 1 << 24
)

// checkFiles looks for what would make the server take all memory: it keeps
// an entry for every sequence between two neighbouring records, believing the
// sequences before it verifies their checksums, so that one flipped bit on the
// disk can stand for terabytes. Everything else is left to the server, a torn
// end above all, which a killed process may leave.
func checkFiles(dir string) error {
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return err
	}
	for _, path := range blocks {
		if err := checkFile(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkBlock(bufio.NewReaderSize(f, 64<<10))
}

// checkBlock reads the records of a block.
func checkBlock(r *bufio.Reader) error {
	var head [recordHead]byte
	var offset int64
	var last uint64
	for {
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		length := binary.LittleEndian.Uint32(head[:]) &^ headersFlag
		sequence := binary.LittleEndian.Uint64(head[4:])
		if length < recordHead || length > largestRecord {
			return nil // the server does not read on from here either
		}
		if sequence&tombFlag == 0 {
			sequence &^= erasedFlag
			if last > 0 && sequence > last && sequence-last > largestGap {
				return fmt.Errorf("damaged at offset %d: sequence %d comes after %d", offset, sequence, last)
			}
			last = max(last, sequence)
		}
		if _, err := r.Discard(int(length) - recordHead); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		offset += int64(length)
	}
}
