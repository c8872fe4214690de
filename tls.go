package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// tlsFlags let the collector speak TLS itself. Without them it is plain HTTP, for a proxy
// in front of it.
type tlsFlags struct {
	TLSCert       file     `name:"tls-cert" help:"Certificate chain (PEM) of the collector; read again when it changes. Plain HTTP when left out." placeholder:"FILE"`
	TLSKey        file     `name:"tls-key" help:"Its private key (PEM)." placeholder:"FILE"`
	ACMEDomains   hostList `name:"acme-domains" help:"Get certificates for these names by ACME; --listen has to be reached as their port 443." placeholder:"HOST,…"`
	ACMEDir       string   `name:"acme-dir" help:"Where these certificates are kept." default:"acme" placeholder:"DIR"`
	ACMEDirectory anyURL   `name:"acme-directory" help:"ACME server." default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL"`
}

// check says what does not fit together.
func (f *tlsFlags) check() error {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together: give both or none")
	case f.TLSCert != "" && len(f.ACMEDomains) > 0:
		return errors.New("--tls-cert and --acme-domains exclude each other")
	}
	return nil
}

// wrap returns ln, speaking TLS when that is asked for. Only HTTP/1.1 is offered: it is
// what the collector speaks.
func (f *tlsFlags) wrap(ln net.Listener, log *slog.Logger) (net.Listener, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	switch {
	case len(f.ACMEDomains) > 0:
		m := &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(f.ACMEDir),
			HostPolicy: autocert.HostWhitelist(f.ACMEDomains...),
			Client:     &acme.Client{DirectoryURL: string(f.ACMEDirectory)}}
		config.GetCertificate = m.GetCertificate
		config.NextProtos = append(config.NextProtos, acme.ALPNProto)
	case f.TLSCert != "":
		pair := &keyPair{cert: string(f.TLSCert), key: string(f.TLSKey), log: log}
		if _, err := pair.get(nil); err != nil {
			return nil, err
		}
		config.GetCertificate = pair.get
	default:
		return ln, nil
	}
	return tls.NewListener(ln, config), nil
}

// keyPair is a certificate in files, read again when one of them changes.
type keyPair struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	written [2]time.Time
	now     *tls.Certificate
}

// get returns the certificate of now. A pair that cannot be read leaves the one before
// it in force: renewals write two files, one after the other.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < time.Second {
		return p.now, nil
	}
	p.looked = time.Now()
	written, err := p.stat()
	if err == nil && written != p.written {
		var c tls.Certificate
		if c, err = tls.LoadX509KeyPair(p.cert, p.key); err == nil {
			p.now, p.written = &c, written
		}
	}
	if err == nil {
		return p.now, nil
	}
	err = fmt.Errorf("read --tls-cert and --tls-key: %w", err)
	if p.now == nil {
		p.looked = time.Time{}
		return nil, err
	}
	p.log.Error("kept the certificate of before", "err", err)
	return p.now, nil
}

func (p *keyPair) stat() (written [2]time.Time, err error) {
	for i, name := range []string{p.cert, p.key} {
		info, err := os.Stat(name)
		if err != nil {
			return written, err
		}
		written[i] = info.ModTime()
	}
	return written, nil
}
