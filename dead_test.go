package main

import (
	"errors"
	"strings"
	"testing"

	"footfall/sink/postgres/pgtest"
)

func TestDeadLettersAreListedShownReplayedAndDropped(t *testing.T) {
	url := stored(t)
	// What a bug of a decoder would leave: a good record among the dead letters.
	id := pgtest.Get[string](t, url, "select event_id::text from footfall.events")
	pgtest.Exec(t, url, `insert into footfall.dead_letters (reason, sqlstate, detail, cluster_id, topic_id, topic, partition,
		record_offset, value) select 'refused_by_database', '22021', E'bad \x1b[31m', cluster_id, topic_id, topic, partition, 0,
		convert_to(format('{"event_id":"%s","schema":1,"site":"shop","type":"pageview","occurred_at":%s,"received_at":%s,"clock":"client","transport":"beacon"}',
			event_id, ms, ms)::text, 'UTF8')
		from (select *, (extract(epoch from occurred_at) * 1000)::bigint as ms from footfall.events) e, footfall.dead_letters`)
	dead := func(args ...string) (int, string) {
		return command(t, append([]string{"dead", "--database-url", url, "--data", t.TempDir()}, args...)...)
	}
	status, out := dead("ls")
	if status != exitOK || strings.Count(out, "\n") != 3 || !strings.Contains(out, "waits  undecodable") ||
		!strings.Contains(out, `refused_by_database 22021: "bad \x1b[31m"`) {
		t.Errorf("status %d, listed\n%s", status, out)
	}
	status, out = dead("show", "1")
	if status != exitOK || !strings.Contains(out, `record  "no record"`) || !strings.Contains(out, `key     "shop/v"`) {
		t.Errorf("status %d, shown\n%s", status, out)
	}
	if status, out = dead("show", "2"); status != exitOK || !strings.Contains(out, id) {
		t.Errorf("status %d, shown\n%s", status, out)
	}
	status, out = dead("replay", "--all")
	if status != exitProblem || !strings.Contains(out, "1: dead letter 1 stays one: undecodable") ||
		!strings.Contains(out, "1 duplicate\n1 not settled\n") {
		t.Errorf("status %d, replayed\n%s", status, out)
	}
	if status, out = dead("drop", "1", "2"); status != exitProblem || !strings.Contains(out, "1 dropped\n1 not settled\n") {
		t.Errorf("status %d, dropped\n%s", status, out)
	}
	if status, out = dead("replay", "--all"); status != exitOK || out != "no dead letter waits\n" {
		t.Errorf("status %d, replayed\n%s", status, out)
	}
	if status, out = dead("ls", "--settled"); status != exitOK || !strings.Contains(out, "dropped") || !strings.Contains(out, "duplicate") {
		t.Errorf("status %d, listed\n%s", status, out)
	}
	for _, wrong := range [][]string{{"drop"}, {"replay"}, {"replay", "--all", "1"}, {"show", "x"}, {"drop", "0"}} {
		if status, out = dead(wrong...); status != exitUsage {
			t.Errorf("%v: status %d, said\n%s", wrong, status, out)
		}
	}
	if status, out = dead("show", "99"); status != exitProblem || !strings.Contains(out, "there is no dead letter 99") {
		t.Errorf("status %d, said\n%s", status, out)
	}
}

func TestALetterOfUnknownEndIsAProblem(t *testing.T) {
	var out strings.Builder
	err := tell(&out, map[string]int{"inserted": 2, notKnown: 1})
	if !errors.Is(err, errTold) || out.String() != "2 inserted\n1 not known whether settled\n" {
		t.Errorf("%v, said %q", err, out.String())
	}
}
