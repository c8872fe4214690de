package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// authority signs certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes NAME.pem and NAME.key. Without names it is the authority's own.
func (a *authority) sign(name string, names []string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature}
	parent, signer := a.cert, a.key
	if names == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(a.file(name), b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// newBroker is an in-process Kafka on TCP that wants TLS, a certificate of the
// authority, and one of two users.
func newBroker(t *testing.T, a *authority) *kfake.Cluster {
	t.Helper()
	a.sign("broker", []string{"broker.example"})
	pair, err := tls.LoadX509KeyPair(a.file("broker.pem"), a.file("broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	b, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "right"), kfake.Superuser("SCRAM-SHA-256", "scram", "right"),
		kfake.Superuser("SCRAM-SHA-512", "scram", "right"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// ask asks the cluster for its id, within five seconds.
func ask(t *testing.T, c Cluster) (string, error) {
	t.Helper()
	client, err := c.Client("test", slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	meta, err := kadm.NewClient(client.Client).BrokerMetadata(ctx)
	return meta.Cluster, client.Explain(err)
}

func right(a *authority, b *kfake.Cluster) Cluster {
	return Cluster{Brokers: b.ListenAddrs(),
		TLS: &TLS{CAFile: a.file("ca.pem"), CertFile: a.file("me.pem"), KeyFile: a.file("me.key"),
			ServerName: "broker.example"},
		SASL: &SASL{Mechanism: ScramSHA512, User: "scram", Password: "right"}}
}

func TestRightCredentialsReachTheCluster(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.sign("me", []string{"me.example"})
	b := newBroker(t, a)
	passwords := a.file("password")
	if err := os.WriteFile(passwords, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, login := range map[string]*SASL{
		"plain":            {Mechanism: Plain, User: "plain", Password: "right"},
		"scram 256":        {Mechanism: ScramSHA256, User: "scram", Password: "right"},
		"scram 512":        {Mechanism: ScramSHA512, User: "scram", Password: "right"},
		"password in file": {Mechanism: ScramSHA512, User: "scram", PasswordFile: passwords},
	} {
		c := right(a, b)
		c.SASL = login
		if id, err := ask(t, c); err != nil || id == "" {
			t.Errorf("%s: cluster %q, %v", name, id, err)
		}
	}
}

func TestWrongCredentialsAreNamed(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	a.sign("me", []string{"me.example"})
	other.sign("me", []string{"me.example"})
	b := newBroker(t, a)
	for name, c := range map[string]struct {
		change func(*Cluster)
		want   string
	}{
		"password":       {func(c *Cluster) { c.SASL.Password = "wrong" }, "are user and password right?"},
		"no login":       {func(c *Cluster) { c.SASL = nil }, "SASL"},
		"user":           {func(c *Cluster) { c.SASL.Mechanism = Plain; c.SASL.User = "nobody" }, "are user and password right?"},
		"authority":      {func(c *Cluster) { c.TLS.CAFile = other.file("ca.pem") }, "is it the right CA file?"},
		"name":           {func(c *Cluster) { c.TLS.ServerName = "else.example" }, "set the server name"},
		"no name":        {func(c *Cluster) { c.TLS.ServerName = "" }, "set the server name"},
		"plain TCP":      {func(c *Cluster) { c.TLS = nil }, "TLS"},
		"no certificate": {func(c *Cluster) { c.TLS.CertFile, c.TLS.KeyFile = "", "" }, "certificate required"},
		"certificate": {func(c *Cluster) {
			c.TLS.CertFile, c.TLS.KeyFile = other.file("me.pem"), other.file("me.key")
		}, "unknown certificate authority"},
		"nobody there": {func(c *Cluster) { c.Brokers = []string{"127.0.0.1:1"} }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := right(a, b)
			c.change(&cluster)
			_, err := ask(t, cluster)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("says %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "right\"") {
				t.Errorf("shows the password: %v", err)
			}
		})
	}
}

func TestTLSToAPlainBrokerIsNamed(t *testing.T) {
	t.Parallel()
	b, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	_, err = ask(t, Cluster{Brokers: b.ListenAddrs(), TLS: &TLS{ServerName: "broker.example"}})
	if err == nil || !strings.Contains(err.Error(), "does this port speak TLS?") {
		t.Errorf("says %v", err)
	}
}

// TestAWrongPasswordIsNotTriedHot counts what a client that keeps asking connects.
func TestAWrongPasswordIsNotTriedHot(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.sign("me", []string{"me.example"})
	b := newBroker(t, a)
	c := right(a, b)
	c.SASL.Password = "wrong"
	dialled := make(chan struct{}, 1000)
	c.Dial = func(ctx context.Context, network, host string) (net.Conn, error) {
		dialled <- struct{}{}
		return new(net.Dialer).DialContext(ctx, network, host)
	}
	if _, err := ask(t, c); err == nil {
		t.Fatal("a wrong password is taken")
	}
	if n := len(dialled); n > 40 {
		t.Errorf("connected %d times in at most five seconds", n)
	}
}

func TestWhatIsWrongWithTheFilesIsToldBeforeConnecting(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.sign("me", []string{"me.example"})
	empty := a.file("empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Cluster{
		"no certificate (PEM)":     {TLS: &TLS{CAFile: empty}},
		"needs its key":            {TLS: &TLS{CertFile: a.file("me.pem")}},
		"read client certificate":  {TLS: &TLS{CertFile: a.file("me.pem"), KeyFile: a.file("ca.key")}},
		"no user":                  {SASL: &SASL{Mechanism: Plain, Password: "x"}},
		"no password":              {SASL: &SASL{Mechanism: Plain, User: "x"}},
		"is empty":                 {SASL: &SASL{Mechanism: Plain, User: "x", PasswordFile: empty}},
		`"kerberos" is not plain,`: {SASL: &SASL{Mechanism: "kerberos", User: "x", Password: "x"}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestASecretDoesNotShowItself(t *testing.T) {
	s := SASL{Mechanism: Plain, User: "u", Password: "hunter2"}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "sasl", s, "password", s.Password)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "sasl", s, "password", s.Password)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", s, s, s, s.Password, s.Password, s.Password)
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if got := out.String(); strings.Contains(got, "hunter2") || strings.Contains(got, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the password shows in %s", got)
	}
}
