// Package pgtest gives a test a database of its own on the real server that
// TEST_DATABASE_URL names. The schema's name is fixed, so tests that run side by
// side need a database each. Used by tests only.
package pgtest

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// New makes an empty database, dropped at the end of the test, and returns its
// URL. Options are those of CREATE DATABASE. Without TEST_DATABASE_URL it skips the test.
func New(t testing.TB, options ...string) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Skip("TEST_DATABASE_URL is not set; scripts/test starts a PostgreSQL and sets it")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("read TEST_DATABASE_URL: %v", err)
	}
	name := "test_" + strings.ReplaceAll(event.NewUUID(time.Now()).String(), "-", "")
	Exec(t, server, "create database "+name+" "+strings.Join(options, " "))
	t.Cleanup(func() { Exec(t, server, "drop database "+name+" with (force)") })
	u.Path = "/" + name
	return u.String()
}

// Exec runs SQL on a connection of its own.
func Exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	c := Connect(t, url)
	defer c.Close(context.Background())
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("run %s: %v", sql, err)
	}
}

// Get returns the one value of a query.
func Get[T any](t testing.TB, url, sql string, args ...any) T {
	t.Helper()
	c := Connect(t, url)
	defer c.Close(context.Background())
	var v T
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("run %s: %v", sql, err)
	}
	return v
}

// Connect opens a connection, which the caller closes.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return c
}
