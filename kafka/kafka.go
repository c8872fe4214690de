// Package kafka says how a Kafka cluster is reached: its addresses, TLS and SASL. The
// rooms that speak to Kafka get a Cluster and make their clients of it, so that all of
// them are protected alike.
//
// What goes wrong on the way to a broker (a refused password, a certificate of another
// name) Kafka clients try again until their caller's time is over, and then report the
// time. Client.Explain puts the cause beside it.
//
// Passwords are kept out of logs: Secret prints as stars. A password or a certificate
// that lies in a file is read again for each connection, so that it can be renewed
// without a restart.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/plugin/kslog"
)

// Cluster is how to reach the brokers. The zero values of all but Brokers are plain TCP
// without a login.
type Cluster struct {
	Brokers []string // host:port each; one that answers is enough
	// Dial connects to a broker; nil is TCP. TLS goes over what it returns.
	Dial func(ctx context.Context, network, host string) (net.Conn, error)
	TLS  *TLS
	SASL *SASL
}

// Client is a client of a cluster. It is safe for concurrent use; close it.
type Client struct {
	*kgo.Client
	cause  *cause
	logsIn bool
}

// Client makes a client, which does not connect before it is used. What is wrong with
// the files of TLS or SASL is told here.
func (c Cluster) Client(id string, log *slog.Logger, more ...kgo.Opt) (*Client, error) {
	why := &cause{}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.WithLogger(kslog.New(slog.New(quiet{log.Handler()}))),
		kgo.WithHooks(why),
		kgo.DialTimeout(dialMax),
		// A topic that grows is noticed after this long; the client's own is 5 minutes.
		kgo.MetadataMaxAge(time.Minute),
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialMax}).DialContext
	}
	config, mechanism, err := c.prepare()
	if err != nil {
		return nil, err
	}
	if config != nil {
		dial = secured(dial, config)
	}
	opts = append(opts, kgo.Dialer(dial))
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
		if c.TLS == nil && c.SASL.Mechanism == Plain && c.Dial == nil {
			log.Warn("the password for kafka goes over the network in the clear: use TLS or SCRAM")
		}
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("configure kafka client: %w", err)
	}
	return &Client{client, why, mechanism != nil}, nil
}

// Check says what is wrong with TLS and SASL, as far as that shows without a broker.
func (c Cluster) Check() error {
	_, _, err := c.prepare()
	return err
}

func (c Cluster) prepare() (config *tls.Config, login sasl.Mechanism, err error) {
	if c.TLS != nil {
		if config, err = c.TLS.config(); err != nil {
			err = fmt.Errorf("prepare TLS with kafka: %w", err)
		}
	}
	if c.SASL != nil {
		var bad error
		if login, bad = c.SASL.mechanism(); bad != nil {
			err = errors.Join(err, fmt.Errorf("prepare login to kafka: %w", bad))
		}
	}
	return config, login, err
}

const dialMax = 10 * time.Second // with TLS, for each broker

// Explain returns err with what the last connection to a broker failed for, unless err
// says it already or a connection was made since.
func (c *Client) Explain(err error) error {
	last := c.cause.load()
	if c.logsIn && errors.Is(err, io.EOF) {
		// Some brokers do not say no, they hang up.
		return fmt.Errorf("broker ends the connection (are user and password right?): %w", err)
	}
	if err == nil || last == nil || errors.Is(err, last) {
		return err
	}
	return fmt.Errorf("%w: %w", last, err)
}

// cause is a hook that remembers why the last connection did not come about.
type cause struct{ err atomic.Pointer[error] }

func (c *cause) load() error {
	if p := c.err.Load(); p != nil {
		return *p
	}
	return nil
}

// OnBrokerConnect is told each attempt to connect, before any login.
func (c *cause) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case err == nil:
		c.err.Store(nil)
	case !errors.Is(err, context.Canceled):
		c.err.Store(&err)
	}
}

// quiet passes on a client's warnings and errors. What it tells as information is of
// interest only to who looks for details.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	if level < slog.LevelWarn {
		level = slog.LevelDebug
	}
	return q.Handler.Enabled(ctx, level)
}
