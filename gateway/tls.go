package gateway

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often a new certificate is looked for.
const certificateCheck = 5 * time.Second

// Certificate is a TLS certificate from two PEM files, read again when they
// change. While new files do not fit together the old certificate stays.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	loaded  *tls.Certificate
	stamp   [2]time.Time
	checked time.Time
}

// LoadCertificate reads the files for the first time.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.loaded, c.stamp, c.checked = &pair, c.stamps(), c.now()
	return c, nil
}

// TLSConfig gives the configuration of a listener that uses the certificate.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		c.reload()
	}
	return c.loaded
}

func (c *Certificate) reload() {
	stamp := c.stamps()
	if stamp == c.stamp {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error("the changed TLS certificate cannot be used; the old one stays", "cert", c.certFile, "key", c.keyFile, "error", err)
		return
	}
	c.loaded, c.stamp = &pair, stamp
	c.log.Info("the TLS certificate was read again", "cert", c.certFile)
}

func (c *Certificate) stamps() (s [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = info.ModTime()
		}
	}
	return s
}
