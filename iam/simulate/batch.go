package simulate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is the length of one case in bytes. With every layer full of
// policies of the longest kind a case stays below it.
const maxLine = 4 << 20

// byteOrderMark is what some editors put before the first line.
var byteOrderMark = []byte("\ufeff")

// Batch reads cases, one JSON object a line, and writes one result a line in
// the same order. Empty lines are passed over. A line that is no case gets a
// result with an error, as does a case with a policy that is refused; the
// error returned is one of reading or writing.
func Batch(in io.Reader, out io.Writer) error {
	from := bufio.NewReaderSize(in, 64<<10)
	to := bufio.NewWriter(out)
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	for number := 1; ; number++ {
		line, tooLong, err := readLine(from)
		if number == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(fmt.Errorf("line %d cannot be read: %w", number, err), to.Flush())
		}
		if len(bytes.TrimSpace(line)) > 0 || tooLong {
			if err := encoder.Encode(answer(line, number, tooLong)); err != nil {
				return fmt.Errorf("the result of line %d cannot be written: %w", number, err)
			}
		}
		if err != nil {
			return to.Flush()
		}
		// Who writes a case and waits for its result must get it.
		if from.Buffered() == 0 {
			if err := to.Flush(); err != nil {
				return fmt.Errorf("the result of line %d cannot be written: %w", number, err)
			}
		}
	}
}

// readLine reads up to the end of the line. Of one that is too long it keeps
// nothing.
func readLine(from *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := from.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

func answer(line []byte, number int, tooLong bool) Result {
	if tooLong {
		return Result{Error: fmt.Sprintf("line %d is longer than %d bytes", number, maxLine)}
	}
	var c Case
	if err := json.Unmarshal(line, &c); err != nil {
		return Result{Name: c.Name, Error: fmt.Sprintf("line %d is not a case: %v", number, err)}
	}
	return Decide(&c)
}
