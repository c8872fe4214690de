//go:build outside

package outside

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKafkaWithTLSAndALogin has a collector log in with SCRAM and a sink with PLAIN, both at first
// with a wrong password: they say so, keep what they have, and go on when the file is right.
func TestKafkaWithTLSAndALogin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "kafka")
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", dir) })
	brokers := kafka(t.Context(), t, "up", "--sasl", "--dir", dir)
	right, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(t.TempDir(), "password")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(password, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(mechanism, command string, more ...string) []string {
		return append([]string{command, "--brokers", brokers, "--kafka-ca", filepath.Join(dir, "ca.pem"),
			"--kafka-sasl", mechanism, "--kafka-user", "footfall", "--kafka-password-file", password}, more...)
	}
	databaseURL, listen, admin, sinkAdmin := database(t), freePort(t), freePort(t), freePort(t)
	url := "http://" + listen

	write("wrong")
	start(t, with("scram-sha-512", "collector", "--listen", listen, "--admin-listen", admin,
		"--spool", filepath.Join(t.TempDir(), "spool"))...)
	start(t, with("plain", "sink", "--database-url", databaseURL, "--admin-listen", sinkAdmin)...)
	wait(t, "accepted events", func() bool {
		_, status := run(t, "send", "--collector", url, "--site", "demo", "--n", "200")
		return status == 0
	})
	for name, at := range map[string]string{"collector": admin, "sink": sinkAdmin} {
		wait(t, "the "+name+" to name the login", func() bool {
			out, _ := run(t, "doctor", "--ready", "--admin", "http://"+at)
			return strings.Contains(out, "SASL_AUTHENTICATION_FAILED")
		})
	}
	wantSays(t, 1, "SASL_AUTHENTICATION_FAILED", with("scram-sha-512", "doctor")...)
	wantSays(t, 1, "SASL_AUTHENTICATION_FAILED", with("plain", "doctor")...)

	write(string(right))
	for _, mechanism := range []string{"scram-sha-512", "plain"} {
		wait(t, "a login with "+mechanism, func() bool {
			out, _ := run(t, with(mechanism, "doctor")...)
			return strings.Contains(out, "topic footfall.events with 12 partitions")
		})
	}
	out, status := run(t, "send", "--collector", url, "--site", "demo", "--n", "300")
	if status != 0 {
		t.Fatalf("send: %s", out)
	}
	waitForRows(t, databaseURL, 500)
	wantSays(t, 0, "", "audit", "--database-url", databaseURL)

	// What a person gets wrong, and what is said then.
	wantSays(t, 1, "is it the right CA file?", "doctor", "--brokers", brokers, "--kafka-tls",
		"--kafka-sasl", "plain", "--kafka-user", "footfall", "--kafka-password-file", password)
	wantSays(t, 1, "is SASL missing?", "doctor", "--brokers", brokers, "--kafka-ca", filepath.Join(dir, "ca.pem"))
	wantSays(t, 1, "a plaintext connection speaking to a tls endpoint?", "doctor", "--brokers", brokers)
	wantSays(t, 1, "UNSUPPORTED_SASL_MECHANISM", with("scram-sha-256", "doctor")...)
}
