//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// bareServer is the ceiling: net/http that reads a body and writes it back,
// and nothing else. It ends when its standard input does.
func bareServer(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // a client that went away is no concern of the server
	})}
	fmt.Fprintln(out, l.Addr())
	go func() {
		io.Copy(io.Discard, in)
		server.Close()
	}()
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}
