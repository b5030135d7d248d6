//go:build linux

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/carrel-dev/carrel/audit"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/gateway"
	"github.com/carrel-dev/carrel/gateway/adminapi"
	"github.com/carrel-dev/carrel/gateway/awsapi"
	"github.com/carrel-dev/carrel/gateway/queryapi"
	"github.com/carrel-dev/carrel/gateway/urlapi"
	"github.com/carrel-dev/carrel/iam/credential"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/secret"
)

// listen takes the port early: while the node may still be root, and before
// the endpoint's address is needed.
func (n *Node) listen(context.Context) error {
	l, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return err
	}
	if n.cfg.TLSCert != "" {
		// Absolute, because the node may leave its working folder later on.
		certFile, err := filepath.Abs(n.cfg.TLSCert)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		keyFile, err := filepath.Abs(n.cfg.TLSKey)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		cert, err := gateway.LoadCertificate(certFile, keyFile, n.log)
		if err != nil {
			l.Close()
			return err
		}
		l = tls.NewListener(l, cert.TLSConfig())
	}
	n.listener = l
	n.after(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return nil
}

// serve begins to answer requests.
func (n *Node) serve(context.Context) error {
	verify := func(service string) *credential.Verifier {
		return credential.New(credential.Config{Region: n.cfg.Region, Services: []string{service}, Lookup: n.control, Sessions: n.control})
	}
	proofs := token.NewProofs(time.Now)
	bearers := func(audience string) *credential.BearerVerifier {
		return credential.NewBearerVerifier(credential.BearerConfig{
			Tokens: n.control.Tokens(), Proofs: proofs, Listener: control.Listener, Audience: audience,
		})
	}
	cursors, err := n.keys.NodeSealer(secret.Cursors)
	if err != nil {
		return err
	}
	domain, port := n.domain()
	urls := urlapi.New(urlapi.Config{
		Domain: domain, Verifier: verify("lambda"), Sessions: n.control, Control: n.control, Invoker: n.pipeline, Roll: rollEvents, Log: n.log,
	})
	handler := gateway.New(gateway.Config{
		URLs: urls,
		Lambda: awsapi.New(awsapi.Config{
			Region: n.cfg.Region, Verifier: verify("lambda"), Control: n.control, Invoker: n.pipeline, Log: n.log, Roll: rollEvents,
			Bearers: bearers("lambda"), Sessions: n.control, URL: func(id string) string { return n.scheme() + urls.Host(id) + port + "/" },
		}),
		Admin: adminapi.New(adminapi.Config{
			Region: n.cfg.Region, Verifier: verify("carrel"), Control: n.control, Ledger: n.ledger, Logs: n.logs,
			Events: eventLists{n.events}, Audit: audit.NewTrail(n.journal, n.cfg.Region), Status: n.status, Log: n.log, Cursors: cursors,
			Bearers: bearers("carrel"),
		}),
		IAM:   queryapi.NewIAM(queryapi.Config{Region: n.cfg.Region, Verifier: verify("iam"), Control: n.control, Sessions: n.control, Log: n.log}),
		STS:   queryapi.NewSTS(queryapi.Config{Region: n.cfg.Region, Verifier: verify("sts"), Control: n.control, Sessions: n.control, Log: n.log}),
		Ready: n.notReady,
	})
	n.http = gateway.Server(handler)
	go func() { n.end(n.http.Serve(n.listener)) }()
	return n.serveOperator()
}

// domain gives what hosts of functions' URLs end in, and the port in their
// addresses with its colon; empty where it is the scheme's own.
func (n *Node) domain() (name, port string) {
	name, number, found := strings.Cut(n.cfg.Domain, ":")
	if !found {
		_, number, _ = net.SplitHostPort(n.listener.Addr().String())
	}
	if n.scheme() == "https://" && number == "443" || n.scheme() == "http://" && number == "80" {
		return name, ""
	}
	return name, ":" + number
}

func (n *Node) scheme() string {
	if n.cfg.TLSCert != "" {
		return "https://"
	}
	return "http://"
}

func (n *Node) end(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		n.failed <- err
	}
}

// serveOperator serves Prometheus metrics on a listener of their own.
func (n *Node) serveOperator() error {
	if n.cfg.MetricsListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.cfg.MetricsListen)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(n.metrics)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	n.operator = gateway.Server(mux)
	go func() { n.end(n.operator.Serve(l)) }()
	return nil
}

// rollEvents gives the random number that chooses between an alias's versions.
func rollEvents() uint64 { return rand.Uint64() }

// Status is what carrel status shows.
type Status struct {
	Version       string        `json:"version"`
	Node          string        `json:"node"`
	Region        string        `json:"region"`
	Endpoint      string        `json:"endpoint"`
	Uptime        time.Duration `json:"uptimeNs"`
	Ready         bool          `json:"ready"`
	NotReady      string        `json:"notReady,omitempty"`
	Warnings      []string      `json:"warnings"`
	UserID        int           `json:"userId"`
	Isolation     any           `json:"isolation"`
	Restore       string        `json:"restore,omitempty"`
	Runtimes      []string      `json:"runtimes"`
	NoNative      string        `json:"noNative,omitempty"`
	Workers       int           `json:"workers"`
	BlankWorkers  int           `json:"blankWorkers"`
	BlankKernels  int           `json:"blankKernels"`
	ColdStarts    uint64        `json:"coldStarts"`
	WorkerCrashes uint64        `json:"workerCrashes"`
	WorkerKills   uint64        `json:"workerKills"`
	WorkerAlarms  uint64        `json:"workerAlarms"`
	Throttled     uint64        `json:"throttled"`
	Damaged       int           `json:"damagedRecords"`
	Journal       any           `json:"journal"`
	JournalSync   string        `json:"journalSync"`
}

func (n *Node) status() any {
	counts, jail := n.driver.Counters(), n.spawner.Status()
	s := Status{
		Version: Version, Node: n.folders.nodeName, Region: n.cfg.Region, Endpoint: n.Endpoint(), Uptime: time.Since(n.started),
		NotReady: n.notReady(), Warnings: []string{}, UserID: os.Getuid(), Isolation: jail, Restore: n.driver.RestoreMethod(),
		Runtimes: n.runtimes(), NoNative: n.native.Why,
		Workers: n.driver.Workers(), BlankWorkers: n.driver.BlanksReady(), BlankKernels: n.driver.KernelBlanksReady(), ColdStarts: counts.ColdStarts.Load(),
		WorkerCrashes: counts.Crashes.Load(), WorkerKills: counts.Kills.Load(), WorkerAlarms: counts.Alarms.Load(),
		Throttled: n.admit.Throttled(), Damaged: n.control.Damaged(), Journal: n.journal.Stats(), JournalSync: n.cfg.JournalSync,
	}
	s.Ready = s.NotReady == ""
	if n.cfg.Insecure() {
		s.Warnings = append(s.Warnings, "INSECURE: the listener can be reached from other machines without TLS: requests and replies can be read on the way")
	}
	if s.Damaged > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d records of the control state cannot be read; what they held is refused", s.Damaged))
	}
	if !jail.UniqueUID {
		s.Warnings = append(s.Warnings, "workers share one user id: "+jail.UniqueUIDReason)
	}
	if jail.Landlock == 0 {
		s.Warnings = append(s.Warnings, "the kernel has no landlock: one layer of the jail is missing")
	}
	if len(jail.Cgroup) == 0 {
		s.Warnings = append(s.Warnings, "no cgroup controller can be used: memory is bounded by rlimits only, and processor time is not shared by weight")
	}
	return s
}

// Version is the release of this binary.
const Version = "0.1.0"
