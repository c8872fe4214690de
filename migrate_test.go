package main

import (
	"context"
	"strings"
	"testing"

	"footfall/sink/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

func TestDryRunPrintsWhatRuns(t *testing.T) {
	url := pgtest.New(t)
	status, sql := command(t, "migrate", "--dry-run", "--database-url", url)
	if status != exitOK || !strings.Contains(sql, "create table footfall.events (") {
		t.Fatalf("status %d, printed\n%s", status, sql)
	}
	// The SQL is fit to be run by hand.
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{"--dry-run": "-- the schema is up to date\n", "": "the schema is up to date\n"} {
		status, out := command(t, append([]string{"migrate", "--database-url", url}, strings.Fields(args)...)...)
		if status != exitOK || out != want {
			t.Errorf("status %d, printed %q, want %q", status, out, want)
		}
	}
	other := pgtest.New(t)
	if status, out := command(t, "migrate", "--database-url", other); status != exitOK || !strings.HasPrefix(out, "applied 001_events.sql\n") {
		t.Errorf("status %d, printed %q", status, out)
	}
	latin := pgtest.New(t, "encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
	if status, out := command(t, "migrate", "--database-url", latin); status != exitProblem || !strings.Contains(out, "encoding is LATIN1") {
		t.Errorf("a database of LATIN1: status %d, printed %q", status, out)
	}
	if status, _ := command(t, "migrate"); status != exitUsage {
		t.Errorf("without a database: status %d", status)
	}
}
