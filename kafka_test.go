package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"footfall/kafka"
)

func TestKafkaSettingsReachTheCluster(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FOOTFALL_KAFKA_PASSWORD_FILE", password)
	c, err := settings(t, "sink", "--brokers", "k:9092", "--database-url", "postgres://db/x",
		"--kafka-server-name", "k.example", "--kafka-sasl", "SCRAM-SHA-512", "--kafka-user", "footfall")
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := c.Sink.cluster()
	if err != nil {
		t.Fatal(err)
	}
	if cluster.TLS == nil || cluster.TLS.ServerName != "k.example" {
		t.Errorf("TLS %+v", cluster.TLS)
	}
	if want := (kafka.SASL{Mechanism: kafka.ScramSHA512, User: "footfall", PasswordFile: password}); *cluster.SASL != want {
		t.Errorf("SASL %+v", cluster.SASL)
	}
}

func TestKafkaSettingsThatDoNotFitAreToldAsUsage(t *testing.T) {
	clean(t)
	for args, want := range map[string]string{
		"--kafka-sasl kerberos":                      `"kerberos" is not plain, scram-sha-256 or scram-sha-512`,
		"--kafka-sasl plain":                         "no user",
		"--kafka-sasl plain --kafka-user u":          "no password",
		"--kafka-user u":                             "do nothing without --kafka-sasl",
		"--kafka-ca /nope":                           "/nope",
		"--kafka-cert config.go":                     "needs its key",
		"--kafka-ca config.go":                       "no certificate (PEM) in config.go",
		"--kafka-sasl plain --kafka-password-file /": "read password",
	} {
		for _, command := range []string{"sink --database-url postgres://db/x", "collector", "tail", "doctor", "spool replay", "up"} {
			var out, errs bytes.Buffer
			all := strings.Fields(command + " --brokers 127.0.0.1:1 " + args)
			if status := run(t.Context(), all, &out, &errs); status != exitUsage {
				t.Errorf("%v: status %d, want %d", all, status, exitUsage)
			}
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%v says %q, want %q", all, &errs, want)
			}
		}
	}
}

func TestThePasswordOfKafkaIsInNoHelpAndNoProblem(t *testing.T) {
	clean(t)
	t.Setenv("FOOTFALL_KAFKA_PASSWORD", "hunter2")
	for _, args := range []string{"sink --help", "sink", "sink --brokers k:1 --kafka-sasl zork"} {
		var out, errs bytes.Buffer
		run(t.Context(), strings.Fields(args), &out, &errs)
		if text := out.String() + errs.String(); strings.Contains(text, "hunter2") {
			t.Errorf("footfall %s prints the password:\n%s", args, text)
		}
	}
}
