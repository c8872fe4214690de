//go:build outside

package outside

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestTheCollectorGetsItsCertificateByACME lets Pebble, the test server of Let's Encrypt,
// check the name and issue the certificate.
func TestTheCollectorGetsItsCertificateByACME(t *testing.T) {
	dir := t.TempDir()
	listen, directory := freePort(t), freePort(t)
	t.Setenv("SSL_CERT_FILE", startPebble(t, dir, listen, directory)) // whom the collector trusts
	c := start(t, "collector", "--brokers", "127.0.0.1:1", "--listen", listen, "--admin-listen", "127.0.0.1:0",
		"--spool", filepath.Join(dir, "spool"), "--acme-domains", "c.example", "--acme-dir", filepath.Join(dir, "acme"),
		"--acme-directory", "https://"+directory+"/dir")
	var issuer string
	wait(t, "a certificate", func() bool {
		conn, err := tls.Dial("tcp", listen, &tls.Config{ServerName: "c.example", InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer conn.Close()
		leaf := conn.ConnectionState().PeerCertificates[0]
		issuer = leaf.Issuer.CommonName
		return leaf.VerifyHostname("c.example") == nil
	})
	t.Logf("issued by %s", issuer)
	if _, err := tls.Dial("tcp", listen, &tls.Config{ServerName: "other.example", InsecureSkipVerify: true}); err == nil {
		t.Error("there is a certificate for a name that nobody configured")
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "acme", "c.example*")); len(kept) == 0 {
		t.Error("the certificate is not kept for the next start")
	}
	if status := c.stop(); status != 0 {
		t.Errorf("collector ended with status %d", status)
	}
}

// startPebble runs the ACME server and a name server that knows every name as this
// machine. It returns the file of the root that signed the server's own certificate.
func startPebble(t *testing.T, dir, listen, directory string) (root string) {
	t.Helper()
	cert, key := filepath.Join(dir, "pebble.pem"), filepath.Join(dir, "pebble-key.pem")
	selfSigned(t, cert, key)
	dns := freePort(t)
	_, port, _ := net.SplitHostPort(listen)
	tlsPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": directory, "managementListenAddress": freePort(t),
		"certificate": cert, "privateKey": key, "httpPort": 1, "tlsPort": tlsPort,
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}}}})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", freePort(t))
	background(t, "pebble", "-config", config, "-dnsserver", dns)
	wait(t, "pebble", func() bool {
		conn, err := net.Dial("tcp", directory)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return cert
}

// background runs a tool of scripts/tools until the test ends.
func background(t *testing.T, tool string, args ...string) {
	t.Helper()
	path, err := exec.Command("go", "tool", "-n", "-modfile=../tools/go.mod", tool).Output()
	if err != nil {
		t.Fatalf("build %s: %v", tool, err)
	}
	cmd := exec.Command(string(path[:len(path)-1]), args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s printed:\n%s", tool, out)
		}
	})
}

func selfSigned(t *testing.T, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
