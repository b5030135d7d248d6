//go:build linux

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/carrel-dev/carrel/fault"
)

// Settings of the server that nobody has a reason to change.
const (
	// MaxPayload bounds one message, in bytes.
	MaxPayload = 8 << 20
	// DefaultMaxStore bounds what all streams together may take on disk, in
	// bytes. It is far above what a node should need: the server's own default,
	// a share of the free space at start, would shrink as the disk fills.
	DefaultMaxStore = 1 << 40
	// maxMemory bounds streams kept in memory; there are none, but for the
	// state of consumers.
	maxMemory = 256 << 20
	// startTimeout is how long the server may take to recover its streams.
	startTimeout = 60 * time.Second
)

// Config says how the embedded server runs.
type Config struct {
	// StoreDir is the folder of its files. It may be relative to the working
	// directory: then no folder above that is ever looked at, and a node
	// that gave up its privileges need not be able to read them.
	StoreDir string
	// MaxStore bounds the files, in bytes; zero means DefaultMaxStore.
	MaxStore int64
	// Replicas is how many copies streams have; zero means one.
	Replicas int
	// Log gets the server's warnings and errors; nil drops them.
	Log *slog.Logger
}

// Bus is a running server and this node's connection to it.
type Bus struct {
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	lock     *os.File
	replicas int
}

// Start runs the server, waits until it has recovered its files, and checks
// that it runs with the settings that safety depends on. A second process on
// the same folder gets a Conflict.
func Start(cfg Config) (*Bus, error) {
	const op = "bus.Start"
	if cfg.StoreDir == "" {
		return nil, fault.New(op, fault.Invalid, "no folder was named for the message store.")
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot make the folder of the message store.")
	}
	lock, err := lockFolder(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	b := &Bus{lock: lock, replicas: max(cfg.Replicas, 1)}
	if err := checkFiles(cfg.StoreDir); err != nil {
		b.Close()
		return nil, fault.Wrap(op, fault.Internal, err, "a file of the message store is damaged.").
			WithRemedy("Restore the data folder from a copy.")
	}
	if err := b.start(cfg); err != nil {
		b.Close()
		return nil, fault.Wrap(op, fault.Internal, err, "the embedded message store did not start.")
	}
	return b, nil
}

func (b *Bus) start(cfg Config) error {
	opts := options(cfg)
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	b.server = srv
	if cfg.Log != nil {
		srv.SetLoggerV2(logger{cfg.Log}, false, false, false)
	}
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		return fmt.Errorf("not ready after %s; its log says why", startTimeout)
	}
	if err := verify(srv, opts); err != nil {
		return err
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.Name("carrel"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	b.js, err = jetstream.New(b.conn)
	return err
}

func options(cfg Config) *server.Options {
	maxStore := cfg.MaxStore
	if maxStore <= 0 {
		maxStore = DefaultMaxStore
	}
	return &server.Options{
		ServerName:             "carrel",
		StoreDir:               cfg.StoreDir,
		JetStream:              true,
		JetStreamMaxStore:      maxStore,
		JetStreamMaxMemory:     maxMemory,
		SyncAlways:             true,
		MaxPayload:             MaxPayload,
		DontListen:             true,
		NoSigs:                 true, // or the server would exit the process on SIGTERM
		NoLog:                  cfg.Log == nil,
		DisableJetStreamBanner: true,
	}
}

// verify reads back what the server says it runs with: an option that was
// renamed or overridden must stop the node, not weaken it in silence.
func verify(srv *server.Server, opts *server.Options) error {
	js := srv.JetStreamConfig()
	switch {
	case js == nil || !srv.JetStreamEnabled():
		return errors.New("JetStream is not enabled")
	case !js.SyncAlways:
		return errors.New("SyncAlways is off: acknowledged writes would be lost on a power cut")
	case js.MaxStore != opts.JetStreamMaxStore:
		return fmt.Errorf("its store is limited to %d bytes, not %d", js.MaxStore, opts.JetStreamMaxStore)
	case filepath.Dir(js.StoreDir) != filepath.Clean(opts.StoreDir):
		return fmt.Errorf("it keeps its files in %s", js.StoreDir)
	case srv.Addr() != nil || srv.MonitorAddr() != nil || srv.ClusterAddr() != nil || srv.ProfilerAddr() != nil:
		return errors.New("it listens on a socket")
	}
	return nil
}

// JetStream gives the connection to the server's streams.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Ensure makes every bucket and stream of the table, or brings its settings
// up to date.
func (b *Bus) Ensure(ctx context.Context) error {
	const op = "bus.Ensure"
	var configs []jetstream.StreamConfig
	for _, bucket := range Buckets() {
		c, err := bucket.Config(b.replicas)
		if err != nil {
			return fault.Wrap(op, fault.Invalid, err, "the table of buckets is wrong.")
		}
		configs = append(configs, c)
	}
	for _, stream := range Streams() {
		c, err := stream.Config(b.replicas)
		if err != nil {
			return fault.Wrap(op, fault.Invalid, err, "the table of streams is wrong.")
		}
		configs = append(configs, c)
	}
	for _, c := range configs {
		if _, err := b.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fault.Wrap(op, fault.Unavailable, err, "cannot make stream %s.", c.Name)
		}
	}
	return nil
}

// Close ends the connection, stops the server and gives the folder free.
// What was acknowledged is on disk already, so that a process that is killed
// instead loses nothing.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	if b.lock != nil {
		b.lock.Close() // closing ends the lock; the file stays
	}
}

// lockFolder takes the folder for this process. The server itself does not,
// and two of them would write over each other. The lock is of the open file,
// so that it ends with the process, however it ends.
func lockFolder(dir string) (*os.File, error) {
	const op = "bus.Start"
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "cannot open the lock of the message store.")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Wrap(op, fault.Conflict, err, "another process uses this data folder.").
			WithRemedy("Stop it, or name another folder.")
	}
	return f, nil
}

// logger passes the server's lines on. Its notices are for operators of NATS;
// here they are debug output.
type logger struct{ log *slog.Logger }

// Noticef logs a notice, as debug output.
func (l logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf logs a warning.
func (l logger) Warnf(format string, v ...any) { l.log.Warn(fmt.Sprintf(format, v...)) }

// Fatalf logs an error; what it ended is for the caller of Start to find.
func (l logger) Fatalf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

// Errorf logs an error.
func (l logger) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

// Debugf logs debug output.
func (l logger) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Tracef logs a trace, as debug output.
func (l logger) Tracef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
