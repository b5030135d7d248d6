// Package config is the one place where settings come from: a documented
// struct with defaults and a check, and the only reader of the environment.
package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/internal/dial"
)

// domainForm is a domain, with a port or without.
var domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?$`)

// Config is how a node runs. Flags of carrel serve fill it.
type Config struct {
	// DataDir is the folder that holds everything of the node but its keys.
	DataDir string
	// Listen is the address of the one port that clients use.
	Listen string
	// MetricsListen is the address of the operator's listener with Prometheus
	// metrics; empty for none. It has no authentication of its own, so only a
	// loopback address is taken.
	MetricsListen string
	// TLSCert and TLSKey are PEM files; they are read again when they change.
	TLSCert, TLSKey string
	// InsecureHTTP allows a listener without TLS that others can reach.
	InsecureHTTP bool
	// Region is the AWS region the node answers for.
	Region string
	// Domain is what the hosts of functions' URLs end in, after "lambda-url.":
	// a name, and a port where clients use another than the listener's.
	Domain string
	// RootKey is the file of the key that wraps all tenants' keys; empty for
	// DataDir + ".key". The tenants' wrapped keys lie beside it in a folder of
	// the same name with ".keys".
	RootKey string
	// JournalSync is when records of invocations are made durable: "write"
	// (within 10 ms) or "always" (before the reply).
	JournalSync string
	// WorkerBinary is carrel-worker; empty for the one beside this binary.
	WorkerBinary string
	// Runsc is gVisor's runtime, for the wall kernel; empty for the one beside
	// this binary or in PATH. Without any there is no such wall.
	Runsc string
	// OCIRuntime is another OCI runtime to be used instead.
	OCIRuntime string
	// MinWall is the weakest wall that calls run behind on this node: process
	// or kernel.
	MinWall string
	// BlankKernels is how many sandboxes with a kernel of their own wait ready,
	// once one was asked for.
	BlankKernels int
	// Fresh has each call of a native function run in a sandbox of its own.
	Fresh bool
	// BlankWorkers is how many confined workers wait ready.
	BlankWorkers int
	// MaxWorkers bounds the worker processes.
	MaxWorkers int
	// IdleWorker is how long a worker without calls is kept.
	IdleWorker time.Duration
	// UserID is the user that a node started as root becomes; 0 for the
	// default.
	UserID int
	// DropRoot says that a node started as root becomes that user.
	DropRoot bool
	// DrainTimeout is how long a stopping node waits for open calls.
	DrainTimeout time.Duration
	// DialAllow are addresses, and prefixes in CIDR form, that the node connects
	// to though they are not public: identity providers of one's own network.
	// Empty allows none. See package internal/dial.
	DialAllow []string
	// LogLevel is debug, info, warn or error.
	LogLevel string
}

// NodeUserID is the user that a node started as root becomes. The users of
// its workers follow it; none of them needs an entry in /etc/passwd.
const NodeUserID = 200_000

// Default gives the settings of a node on a developer's machine.
func Default() Config {
	return Config{
		DataDir: ".carrel", Listen: "127.0.0.1:9600", Region: "us-east-1", Domain: "localhost", JournalSync: "write",
		BlankWorkers: 4, BlankKernels: 1, MinWall: "process", MaxWorkers: 500, IdleWorker: 10 * time.Minute, UserID: NodeUserID, DropRoot: true,
		DrainTimeout: 30 * time.Second, LogLevel: "info",
	}
}

// Validate refuses settings that cannot work or are not safe, saying what to
// do instead.
func (c *Config) Validate() error {
	if c.DataDir == "" {
		return fmt.Errorf("no data folder: give --data DIR")
	}
	if _, err := function.ParseRegion(c.Region); err != nil {
		return fmt.Errorf("--region: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("--tls-cert and --tls-key go together")
	}
	loopback, err := isLoopback(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if !loopback && c.TLSCert == "" && !c.InsecureHTTP {
		return fmt.Errorf("--listen %s can be reached from other machines and has no TLS: give --tls-cert and --tls-key, or listen on 127.0.0.1, or accept the risk with --insecure-http", c.Listen)
	}
	if !domainForm.MatchString(c.Domain) {
		return fmt.Errorf("--domain %q: give a domain in small letters, as in fn.example.com, and a port after a colon if clients use another than --listen has", c.Domain)
	}
	if c.MetricsListen != "" {
		if loopback, err := isLoopback(c.MetricsListen); err != nil || !loopback {
			return fmt.Errorf("--metrics-listen %s: need a loopback address such as 127.0.0.1:9601, because metrics are served without authentication", c.MetricsListen)
		}
	}
	if c.JournalSync != "write" && c.JournalSync != "always" {
		return fmt.Errorf("--journal-sync %q: need write or always", c.JournalSync)
	}
	if c.MaxWorkers < 1 || c.BlankWorkers < 1 || c.BlankWorkers > c.MaxWorkers {
		return fmt.Errorf("--blank-workers %d and --max-workers %d: need at least 1 and no more blank workers than workers", c.BlankWorkers, c.MaxWorkers)
	}
	if c.MinWall != "process" && c.MinWall != "kernel" {
		return fmt.Errorf("--min-wall %q: need process or kernel", c.MinWall)
	}
	if c.BlankKernels < 1 || c.BlankKernels > c.MaxWorkers {
		return fmt.Errorf("--blank-kernels %d: need at least 1 and no more than --max-workers", c.BlankKernels)
	}
	if c.Runsc != "" && c.OCIRuntime != "" {
		return fmt.Errorf("--runsc and --oci-runtime exclude each other: give one of them")
	}
	for _, text := range c.DialAllow {
		if _, err := dial.ParseAllowed(text); err != nil {
			return fmt.Errorf("--dial-allow: %w", err)
		}
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("--log-level %q: need debug, info, warn or error", c.LogLevel)
	}
	return nil
}

// Insecure tells whether others can reach a listener without TLS: carrel
// status shows it loudly.
func (c *Config) Insecure() bool {
	loopback, err := isLoopback(c.Listen)
	return c.TLSCert == "" && (err != nil || !loopback)
}

func isLoopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return false, fmt.Errorf("%q: need HOST:PORT such as 127.0.0.1:9600", address)
	}
	if host == "localhost" {
		return true, nil
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback(), nil
}

// KeyPaths gives the file of the root key and the folder of tenants' keys.
func (c *Config) KeyPaths() (file, folder string) {
	file = c.RootKey
	if file == "" {
		file = strings.TrimSuffix(filepath.Clean(c.DataDir), string(filepath.Separator)) + ".key"
	}
	return file, file + "s"
}

// OperatorFile is the file in a data folder with the operator's credentials.
const OperatorFile = "operator.env"

// Client is what the client commands need to reach a node.
type Client struct {
	Endpoint, Region           string
	AccessKeyID, SecretKey     string
	SessionToken, CACert, From string
}

// Environment gives a variable of the environment; tests replace it.
type Environment func(name string) string

// ClientFrom gives endpoint and credentials from the AWS variables, or else
// from the operator's file in a data folder.
func ClientFrom(env Environment, dataDir string) (Client, error) {
	c := Client{
		Endpoint: first(env("AWS_ENDPOINT_URL_CARREL"), env("AWS_ENDPOINT_URL")),
		Region:   first(env("AWS_REGION"), env("AWS_DEFAULT_REGION")), AccessKeyID: env("AWS_ACCESS_KEY_ID"),
		SecretKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"), CACert: env("AWS_CA_BUNDLE"),
		From: "the AWS environment variables",
	}
	if c.Endpoint != "" && c.AccessKeyID != "" && c.SecretKey != "" {
		c.Region = first(c.Region, Default().Region)
		return c, nil
	}
	path := filepath.Join(dataDir, OperatorFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("no node is named: set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --data with the folder of a running node (%w)", err)
	}
	values := parseEnvFile(string(text))
	c = Client{
		Endpoint: first(c.Endpoint, values["AWS_ENDPOINT_URL"]), Region: values["AWS_REGION"],
		AccessKeyID: values["AWS_ACCESS_KEY_ID"], SecretKey: values["AWS_SECRET_ACCESS_KEY"],
		CACert: c.CACert, From: path,
	}
	if c.Endpoint == "" || c.AccessKeyID == "" || c.SecretKey == "" {
		return c, fmt.Errorf("%s does not hold an endpoint and a key: start the node once with carrel serve --data %s", path, dataDir)
	}
	return c, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// parseEnvFile reads NAME=VALUE lines; quotes around a value are taken off.
func parseEnvFile(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(name, "#") {
			values[name] = strings.Trim(value, `'"`)
		}
	}
	return values
}

// Getenv reads the process's environment. No other package does.
func Getenv(name string) string { return os.Getenv(name) }
