package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mechanisms of SASL.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// SASL logs in at each broker.
type SASL struct {
	Mechanism string // one of the above
	User      string
	// Password or PasswordFile; the file's last line break does not count.
	Password     Secret
	PasswordFile string
}

// Secret does not show itself when it is printed or logged.
type Secret string

const stars = "***"

func (Secret) String() string { return stars }

// GoString keeps %#v from showing it.
func (Secret) GoString() string { return stars }

// MarshalText keeps encoders from showing it.
func (Secret) MarshalText() ([]byte, error) { return []byte(stars), nil }

// LogValue keeps slog from showing it.
func (Secret) LogValue() slog.Value { return slog.StringValue(stars) }

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	_, err := s.password()
	if s.User == "" {
		err = errors.Join(errors.New("no user"), err)
	}
	if err != nil {
		return nil, err
	}
	login := func(context.Context) (scram.Auth, error) {
		pass, err := s.password()
		return scram.Auth{User: s.User, Pass: pass}, err
	}
	switch s.Mechanism {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := s.password()
			return plain.Auth{User: s.User, Pass: pass}, err
		}), nil
	case ScramSHA256:
		return scram.Sha256(login), nil
	case ScramSHA512:
		return scram.Sha512(login), nil
	}
	return nil, fmt.Errorf("%q is not %s, %s or %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
}

func (s *SASL) password() (string, error) {
	switch {
	case s.PasswordFile == "" && s.Password == "":
		return "", errors.New("no password")
	case s.PasswordFile == "":
		return string(s.Password), nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	pass := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if pass == "" {
		return "", fmt.Errorf("read password: %s is empty", s.PasswordFile)
	}
	return pass, nil
}
