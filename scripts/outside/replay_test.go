//go:build outside

package outside

import (
	"strings"
	"testing"
)

// TestReplayBringsRowsBackAndDoublesNone deletes rows and lets the spool send everything
// again, beside the collector that has it open.
func TestReplayBringsRowsBackAndDoublesNone(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.collector.stop()
	c.collector = start(t, "collector", "--brokers", c.brokers, "--listen", c.listen,
		"--admin-listen", "127.0.0.1:0", "--spool", c.spool, "--spool-keep", "1h")
	wait(t, "the collector", func() bool {
		_, status := run(t, "send", "--collector", c.url(), "--site", "demo", "--n", "1")
		return status == 0
	})
	if out, status := run(t, "send", "--collector", c.url(), "--site", "demo", "--n", "499"); status != 0 {
		t.Fatalf("send: %s", out)
	}
	waitForRows(t, c.databaseURL, 500)
	query(t, c.databaseURL, "delete from footfall.events where event_id in "+
		"(select event_id from footfall.events limit 120)")
	if left := query(t, c.databaseURL, "select count(*) from footfall.events"); left != 380 {
		t.Fatalf("%d rows are left, want 380", left)
	}
	out, status := run(t, "spool", "replay", c.spool, "--brokers", c.brokers, "--since", "1h")
	if status != 0 || !strings.Contains(out, "500 records were passed on") {
		t.Fatalf("replay: status %d: %s", status, out)
	}
	waitForRows(t, c.databaseURL, 500)
	replayIntoATable(t, c)
}

// replayIntoATable reads the topic, which has each event twice by now, into a table beside
// that of the sink.
func replayIntoATable(t *testing.T, c *cluster) {
	t.Helper()
	sink := []string{"sink", "--brokers", c.brokers, "--database-url", c.databaseURL, "--into", "again"}
	out, status := run(t, append(sink, "--from", "1h")...)
	if status != 0 || !strings.Contains(out, "500 rows of again, 500 duplicates, 0 dead letters") {
		t.Errorf("replay: status %d: %s", status, out)
	}
	const differ = `select count(*) from (select to_jsonb(e) - 'loaded_at' from footfall.events e
		except all select to_jsonb(a) - 'loaded_at' from again a) x`
	if n := query(t, c.databaseURL, differ); n != 0 {
		t.Errorf("%d rows of the sink are not the replay's", n)
	}
	if out, status = run(t, sink...); status != 1 || !strings.Contains(out, "drop table if exists again") {
		t.Errorf("a replay into a table that is there: status %d: %s", status, out)
	}
}
