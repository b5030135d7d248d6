package secret

import (
	"io"

	"github.com/carrel-dev/carrel/fault"
)

// SealStream gives a writer that encrypts what is written to it under the
// label and passes it on to w, for what is too big for one piece. Close ends
// it; without Close the reader takes what is there as cut off.
func (k *Keeper) SealStream(l Label, w io.Writer) (io.WriteCloser, error) {
	const op = "secret.SealStream"
	r, err := k.ringOf(op, &l)
	if err != nil {
		return nil, err
	}
	return r.stream.NewEncryptingWriter(w, l.appendTo(nil))
}

// OpenStream gives a reader of what SealStream wrote under the same label. It
// never gives a byte that was not authenticated; a stream that was cut off,
// reordered or altered ends in an error whose cause is ErrAltered.
func (k *Keeper) OpenStream(l Label, r io.Reader) (io.Reader, error) {
	const op = "secret.OpenStream"
	keys, err := k.ringOf(op, &l)
	if err != nil {
		return nil, err
	}
	source := &sourceReader{r: r}
	plain, err := keys.stream.NewDecryptingReader(source, l.appendTo(nil))
	if err != nil {
		return nil, streamError(op, source.err, &l)
	}
	return &streamReader{plain: plain, source: source, label: l}, nil
}

// segmentSize is the size of an encrypted segment of a stream, in bytes: a
// reader gives nothing that was not authenticated, so it holds this much.
const segmentSize = 256 << 10

type streamReader struct {
	plain  io.Reader
	source *sourceReader
	label  Label
}

// Read gives authenticated bytes.
func (s *streamReader) Read(p []byte) (int, error) {
	n, err := s.plain.Read(p)
	if err != nil && err != io.EOF {
		err = streamError("secret.OpenStream", s.source.err, &s.label)
	}
	return n, err
}

// streamError tells a failure of the disk from bytes that do not belong here.
func streamError(op string, source error, l *Label) error {
	if source != nil {
		return fault.Wrap(op, fault.Internal, source, "cannot read a stored %s.", l.Kind)
	}
	return sealedError(op, ErrAltered, l)
}

// sourceReader remembers the error of the reader below, which the decrypting
// reader does not pass on as it was.
type sourceReader struct {
	r   io.Reader
	err error
}

// Read reads from below.
func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
