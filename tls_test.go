package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair makes a self-signed certificate with a serial number.
func writePair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "c.example"},
		DNSNames: []string{"c.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestARenewedCertificateIsUsedAndABadOneIsNot(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	cert, key := writePair(t, dir, 1)
	pair := &keyPair{cert: cert, key: key, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	serial := func() int64 {
		t.Helper()
		pair.looked = time.Time{} // as if a second had passed
		c, err := pair.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("serial number %d", got)
	}
	writePair(t, dir, 2)
	if got := serial(); got != 2 {
		t.Errorf("after a renewal the serial number is %d", got)
	}
	if err := os.WriteFile(cert, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("with a torn file the serial number is %d", got)
	}
	os.Remove(key)
	if got := serial(); got != 2 {
		t.Errorf("without a key the serial number is %d", got)
	}
	writePair(t, dir, 3)
	if got := serial(); got != 3 {
		t.Errorf("mended, the serial number is %d", got)
	}
}

func TestTheCollectorSpeaksTLSWhenAsked(t *testing.T) {
	clean(t)
	cert, key := writePair(t, t.TempDir(), 7)
	c, err := settings(t, "collector", "--brokers", "k:9092", "--tls-cert", cert, "--tls-key", key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := c.Collector.wrap(plain, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.WriteString(conn, "hello"); conn.Close() }()
		}
	}()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol is %q", p)
	}
	if _, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestSettingsOfTLSHaveToFitTogether(t *testing.T) {
	clean(t)
	cert, key := writePair(t, t.TempDir(), 1)
	for want, args := range map[string][]string{
		"belong together": {"--tls-cert", cert},
		"exclude":         {"--tls-cert", cert, "--tls-key", key, "--acme-domains", "c.example"},
		"is not a name":   {"--acme-domains", "https://c.example"},
		"no such file":    {"--tls-cert", "/nope", "--tls-key", key},
	} {
		_, err := settings(t, append([]string{"collector", "--brokers", "k:9092"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	other, _ := writePair(t, t.TempDir(), 2)
	f := tlsFlags{TLSCert: file(other), TLSKey: file(key)}
	if _, err := f.wrap(nil, slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil {
		t.Error("a key that is another certificate's is taken")
	}
}
