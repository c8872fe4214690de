package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// TLS protects the connections to brokers. A broker's certificate is always checked.
type TLS struct {
	// CAFile holds the certificates (PEM) of those who may sign a broker's; the system's
	// when it is "".
	CAFile string
	// CertFile and KeyFile (PEM) are how the client shows itself; both or none.
	CertFile, KeyFile string
	// ServerName is the name in the brokers' certificates; by default the one that each
	// broker is dialled by.
	ServerName string
}

func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA: no certificate (PEM) in %s", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a client certificate needs its key, and a key its certificate")
	}
	if t.CertFile == "" {
		return c, nil
	}
	if _, err := t.certificate(nil); err != nil {
		return nil, err
	}
	c.GetClientCertificate = t.certificate
	return c, nil
}

func (t *TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return &pair, nil
}

type dialer = func(ctx context.Context, network, host string) (net.Conn, error)

func secured(dial dialer, config *tls.Config) dialer {
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		plain, err := dial(ctx, network, host)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		if own.ServerName == "" {
			if own.ServerName, _, err = net.SplitHostPort(host); err != nil {
				plain.Close()
				return nil, fmt.Errorf("connect to %s: %w", host, err)
			}
		}
		conn := tls.Client(plain, own)
		ctx, cancel := context.WithTimeout(ctx, handshakeMax)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			plain.Close()
			return nil, handshakeError(host, err)
		}
		return conn, nil
	}
}

// A plain listener takes the first bytes of TLS for a long message, and waits for more.
const handshakeMax = 4 * time.Second

func handshakeError(host string, err error) error {
	hint := ""
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &name):
		hint = " (dial a name of the certificate, or set the server name)"
	case errors.As(err, &unknown):
		hint = " (is it the right CA file?)"
	case errors.As(err, &plain), errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded):
		hint = " (does this port speak TLS?)"
	}
	return fmt.Errorf("speak TLS with broker %s: %w%s", host, err, hint)
}
