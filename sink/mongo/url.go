package mongo

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

const (
	scheme    = "mongodb://"
	schemeSRV = "mongodb+srv://"
)

var errURL = errors.New("want a URL like mongodb://user:password@host:port/database")

// CheckURL says what is wrong with a URL without repeating its user and password. It
// asks no server: of mongodb+srv, whose hosts are asked for by name, it looks at the
// scheme only.
func CheckURL(u string) error {
	switch {
	case strings.HasPrefix(u, schemeSRV):
		return nil
	case !strings.HasPrefix(u, scheme):
		return errURL
	}
	_, _, err := configure(u)
	return err
}

// configure returns the client's options and the name of the database. What the
// promise rests on is not the URL's to say.
func configure(u string) (*options.ClientOptions, string, error) {
	opts := options.Client().ApplyURI(u)
	if err := opts.Validate(); err != nil {
		return nil, "", fmt.Errorf("%w: %s", errURL, redact(err.Error(), u))
	}
	if opts.AppName == nil {
		opts.SetAppName("footfall")
	}
	journal := true
	opts.SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journal}).
		SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		SetMaxPoolSize(connectionsMax).SetServerSelectionTimeout(selectMax).
		SetConnectTimeout(selectMax)
	return opts, databaseOf(u), nil
}

// parts returns what stands between the scheme and the host, and what behind it.
func parts(u string) (userinfo, rest string) {
	_, rest, _ = strings.Cut(u, "://")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return rest[:at], rest[at+1:]
	}
	return "", rest
}

func databaseOf(u string) string {
	_, rest := parts(u)
	rest, _, _ = strings.Cut(rest, "?")
	_, name, _ := strings.Cut(rest, "/")
	if plain, err := url.PathUnescape(name); err == nil && plain != "" {
		return plain
	}
	return databaseName
}

// redact takes out of a message what it repeats of a URL's user and password, also
// where a password with an unescaped / or : in it was taken for something else.
func redact(message, u string) string {
	userinfo, _ := parts(u)
	if userinfo == "" {
		return message
	}
	secrets := append([]string{userinfo}, strings.FieldsFunc(userinfo, func(r rune) bool {
		return strings.ContainsRune(":/@?", r)
	})...)
	for _, s := range secrets {
		message = strings.ReplaceAll(message, s, "…")
		if plain, err := url.PathUnescape(s); err == nil {
			message = strings.ReplaceAll(message, plain, "…")
		}
	}
	return message
}
