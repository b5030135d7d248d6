package native

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
)

// The HTTP/1.1 (RFC 9112) that the Runtime API needs, and no more: package
// net/http would make every worker larger, those that run WebAssembly too.
// Who speaks here is the function that this sandbox belongs to.

const (
	// maxHead bounds a request's line and headers, in bytes.
	maxHead = 64 << 10
	// maxBody bounds a body: a result of 6 MB and what encloses it.
	maxBody = 8 << 20
)

// request is one request. The handler reads body to its end or not; what it
// leaves is dropped.
type request struct {
	method, path string
	header       textproto.MIMEHeader
	body         io.Reader
	// trailer is what followed a chunked body, once that was read.
	trailer textproto.MIMEHeader
}

// response is the answer to a request. One with a zero status closes the connection.
type response struct {
	status int
	header [][2]string
	body   []byte
	// sent is told whether the answer was written; may be nil.
	sent func(error)
}

// listener serves requests on one address.
type listener struct {
	net.Listener
	handle func(*request) response
}

// serve takes connections until the listener is closed.
func (l *listener) serve() error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go l.serveConn(conn)
	}
}

func (l *listener) serveConn(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	w := bufio.NewWriterSize(conn, 16<<10)
	for {
		req, last, err := readRequest(r, conn)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				writeResponse(w, response{status: 400, body: []byte(err.Error())}, true)
			}
			return
		}
		answer := l.handle(req)
		if answer.status == 0 {
			return
		}
		if _, err := io.Copy(io.Discard, req.body); err != nil {
			last = true
		}
		err = writeResponse(w, answer, last)
		if answer.sent != nil {
			answer.sent(err)
		}
		if err != nil || last {
			return
		}
	}
}

// readRequest reads a request's head; last says that the client wants the
// connection closed after it.
func readRequest(r *bufio.Reader, conn io.Writer) (req *request, last bool, err error) {
	limited := &io.LimitedReader{R: r, N: maxHead}
	// The head is read byte by byte out of r, so that no byte of the body is lost.
	head := textproto.NewReader(bufio.NewReaderSize(byteReader{limited}, 16))
	line, err := head.ReadLine()
	if err != nil {
		return nil, true, io.EOF
	}
	method, rest, ok := strings.Cut(line, " ")
	path, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "HTTP/1.") {
		return nil, true, errors.New("malformed request line")
	}
	header, err := head.ReadMIMEHeader()
	if err != nil {
		return nil, true, fmt.Errorf("malformed headers: %w", err)
	}
	// http://host/path is as good as /path (RFC 9112, 3.2.2).
	if _, absolute, found := strings.Cut(path, "://"); found && path[0] != '/' {
		_, path, _ = strings.Cut(absolute, "/")
		path = "/" + path
	}
	req = &request{method: method, path: path, header: header}
	connection := strings.ToLower(header.Get("Connection"))
	last = strings.Contains(connection, "close") || version == "HTTP/1.0" && !strings.Contains(connection, "keep-alive")
	if strings.EqualFold(header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, true, io.EOF
		}
	}
	return req, last, req.openBody(r)
}

// openBody finds out how the body is delimited (RFC 9112, 6.3).
func (req *request) openBody(r *bufio.Reader) error {
	if te := req.header.Get("Transfer-Encoding"); te != "" {
		if !strings.EqualFold(te, "chunked") {
			return fmt.Errorf("transfer encoding %q is not known", te)
		}
		req.body = &chunked{r: r, of: req}
		return nil
	}
	length := req.header.Get("Content-Length")
	if length == "" {
		req.body = strings.NewReader("")
		return nil
	}
	n, err := strconv.ParseInt(length, 10, 63)
	if err != nil || n < 0 {
		return fmt.Errorf("malformed length %q", length)
	}
	req.body = &exactly{io.LimitedReader{R: r, N: n}}
	return nil
}

// exactly gives so many bytes, and an error if there are fewer.
type exactly struct{ io.LimitedReader }

func (e *exactly) Read(b []byte) (int, error) {
	n, err := e.LimitedReader.Read(b)
	if err == io.EOF && e.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunked reads a chunked body (RFC 9112, 7.1).
type chunked struct {
	r    *bufio.Reader
	of   *request
	left int64
	done bool
	err  error
}

func (c *chunked) Read(b []byte) (int, error) {
	if c.err == nil && c.left == 0 && !c.done {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.done {
		return 0, io.EOF
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if err == nil && c.left == 0 {
		err = c.line("")
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// next reads the size of a chunk, or the trailers behind the last one.
func (c *chunked) next() error {
	line, err := readLine(c.r)
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	if c.left, err = strconv.ParseInt(strings.TrimSpace(size), 16, 63); err != nil {
		return fmt.Errorf("malformed chunk: %w", err)
	}
	if c.left > 0 {
		return nil
	}
	c.done = true
	c.of.trailer = textproto.MIMEHeader{}
	for total := 0; ; {
		line, err := readLine(c.r)
		if err != nil {
			return err
		}
		if line == "" {
			return nil
		}
		if total += len(line); total > maxHead {
			return errors.New("trailers are too long")
		}
		if name, value, found := strings.Cut(line, ":"); found {
			c.of.trailer.Add(name, strings.TrimSpace(value))
		}
	}
}

func (c *chunked) line(want string) error {
	line, err := readLine(c.r)
	if err == nil && line != want {
		err = errors.New("malformed chunk")
	}
	return err
}

// readLine reads a line of bounded length without its end.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxHead {
			return "", errors.New("a line is too long")
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if err != bufio.ErrBufferFull {
			return "", io.ErrUnexpectedEOF
		}
	}
}

// byteReader gives one byte at a time, so that a reader on top of it takes no
// more than it needs.
type byteReader struct{ r io.Reader }

func (b byteReader) Read(p []byte) (int, error) { return b.r.Read(p[:min(1, len(p))]) }

var reasons = map[int]string{
	200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	413: "Content Too Large", 500: "Internal Server Error", 501: "Not Implemented",
}

func writeResponse(w *bufio.Writer, a response, last bool) error {
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", a.status, reasons[a.status], len(a.body))
	for _, h := range a.header {
		fmt.Fprintf(w, "%s: %s\r\n", h[0], h[1])
	}
	if last {
		io.WriteString(w, "Connection: close\r\n")
	}
	io.WriteString(w, "\r\n")
	w.Write(a.body)
	return w.Flush()
}

// errBodyTooLarge is the error of a body over its bound.
var errBodyTooLarge = errors.New("the body is too large")

// readBody reads a body of so many bytes at most.
func readBody(r io.Reader, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(b) > most {
		err = errBodyTooLarge
	}
	return b, err
}
