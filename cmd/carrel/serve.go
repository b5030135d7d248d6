package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/carrel-dev/carrel/config"
)

func (a *app) serveCommand() *cobra.Command {
	cfg := config.Default()
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node until it is told to stop. On its first start it makes the
management account, and writes its credentials to operator.env in the data
folder. It logs JSON to stderr.

SIGTERM and SIGINT let the calls under way end; a second signal stops the node
at once.`,
		Example: `  carrel serve
  carrel serve --data /var/lib/carrel --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.DataDir = a.dataDir
			options := &slog.HandlerOptions{Level: logLevel(cfg.LogLevel)}
			log := slog.New(slog.NewJSONHandler(a.stderr, options))
			return a.node(c, cfg, log, func(n node) {
				log.Info("the node takes requests", "endpoint", n.Endpoint(), "operatorFile", n.OperatorFile())
			})
		},
	}
	configFlags(c.Flags(), &cfg)
	return c
}

func (a *app) upCommand() *cobra.Command {
	cfg := config.Default()
	cfg.LogLevel = "warn"
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a node for development, and say what to do next",
		Long: `Run a node as "carrel serve" does, with output for people: where it is, how
to use its credentials, and what to try.`,
		Example: "  carrel up\n  carrel up --data /tmp/try --listen 127.0.0.1:0",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.DataDir = a.dataDir
			options := &slog.HandlerOptions{Level: logLevel(cfg.LogLevel)}
			// Asked for now: a node that was started as root leaves the folder.
			here, err := os.Getwd()
			if err != nil {
				return other("StartFailed", err)
			}
			a.say("Starting a node in %s ...", cfg.DataDir)
			err = a.node(c, cfg, slog.New(slog.NewTextHandler(a.stderr, options)), func(n node) { a.banner(cfg, n, here) })
			if err == nil {
				a.say("Stopped.")
			}
			return err
		},
	}
	configFlags(c.Flags(), &cfg)
	return c
}

// node is a running node, as far as people are told of it.
type node interface {
	Endpoint() string
	OperatorFile() string
}

func (a *app) banner(cfg config.Config, n node, here string) {
	env := n.OperatorFile()
	if a.output == outputJSON {
		writeJSON(a.stdout, map[string]string{"endpoint": n.Endpoint(), "dataDir": cfg.DataDir, "operatorFile": env})
		return
	}
	if short, err := filepath.Rel(here, env); err == nil && len(short) < len(env) {
		env = short
	}
	if filepath.Base(env) == env {
		env = "./" + env // a shell looks for a bare name in PATH
	}
	data := ""
	if filepath.Clean(cfg.DataDir) != config.Default().DataDir {
		data = " --data " + shellQuote(cfg.DataDir)
	}
	fmt.Fprintf(a.stdout, `Carrel is running.

  endpoint   %s
  data       %s
  operator   %s

In another terminal, act as the operator:

  set -a; . %s; set +a
  carrel status%s

Make a tenant, and act as its admin:

  eval "$(carrel tenant create acme%s)"
  aws lambda list-functions

Ctrl-C lets the calls under way end and stops; a second one stops at once.
`, n.Endpoint(), cfg.DataDir, env, shellQuote(env), data, data)
	if cfg.Insecure() {
		a.say("\n%s", a.loud(a.stderr, "INSECURE: other machines can reach this node without TLS; requests and replies can be read on the way."))
	}
}

// stopSignals are what ends a node.
func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func logLevel(name string) slog.Level {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo // Validate refuses the name
	}
	return level
}

// configFlags makes a flag for every setting but the data folder, whose flag
// all commands have.
func configFlags(f *pflag.FlagSet, c *config.Config) {
	f.StringVar(&c.Listen, "listen", c.Listen, "address of the port that clients use")
	f.StringVar(&c.MetricsListen, "metrics-listen", c.MetricsListen, "loopback address of Prometheus metrics; none if empty")
	f.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM file of the TLS certificate; read again when it changes")
	f.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM file of the certificate's key")
	f.BoolVar(&c.InsecureHTTP, "insecure-http", c.InsecureHTTP, "allow others to reach the node without TLS")
	f.StringVar(&c.Domain, "domain", c.Domain, "what hosts of function URLs end in: ID.lambda-url.DOMAIN[:PORT]")
	f.StringVar(&c.Region, "region", c.Region, "AWS region that the node answers for")
	f.StringVar(&c.RootKey, "root-key", c.RootKey, "file of the key that wraps all tenants' keys; DATA.key if empty")
	f.StringVar(&c.JournalSync, "journal-sync", c.JournalSync, "when records of calls are durable: write (within 10 ms) or always (before the reply)")
	f.StringVar(&c.WorkerBinary, "worker-binary", c.WorkerBinary, "carrel-worker; the one beside carrel if empty")
	f.StringVar(&c.Runsc, "runsc", c.Runsc, "gVisor's runtime for the wall kernel; the one beside carrel or in PATH if empty")
	f.StringVar(&c.OCIRuntime, "oci-runtime", c.OCIRuntime, "another OCI runtime for the wall kernel, instead of runsc")
	f.StringVar(&c.MinWall, "min-wall", c.MinWall, "weakest wall that calls run behind on this node: process or kernel")
	f.IntVar(&c.BlankKernels, "blank-kernels", c.BlankKernels, "sandboxes with a kernel of their own that wait ready, once one was asked for")
	f.BoolVar(&c.Fresh, "fresh", c.Fresh, "run each call of a native function in a sandbox that is used for no other")
	f.IntVar(&c.BlankWorkers, "blank-workers", c.BlankWorkers, "confined workers that wait ready")
	f.IntVar(&c.MaxWorkers, "max-workers", c.MaxWorkers, "the most worker processes")
	f.DurationVar(&c.IdleWorker, "idle-worker", c.IdleWorker, "how long a worker without calls is kept")
	f.IntVar(&c.UserID, "user-id", c.UserID, "user that a node started as root becomes; its workers' users follow it")
	f.BoolVar(&c.DropRoot, "drop-root", c.DropRoot, "become that user when started as root")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "how long a stopping node waits for calls under way")
	f.StringSliceVar(&c.DialAllow, "dial-allow", c.DialAllow, "addresses or CIDR prefixes that the node connects to though they are not public, as an identity provider's")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
}
