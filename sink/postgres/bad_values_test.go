package postgres

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"footfall/event/eventtest"
	"footfall/sink/postgres/pgtest"
)

// Every bad value ends as a row, a mended row or a dead letter; the rows around it are
// stored, and nothing waits.
func TestNoBadValueBlocksTheTable(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	// What is fine for us and not for the database: an index row that is too big, a check.
	pgtest.Exec(t, url, "create index on footfall.events (url, referrer)")
	pgtest.Exec(t, url, "alter table footfall.events add check (title is distinct from 'refused')")
	list, strange := eventtest.BadValues(), eventtest.BadRecords()
	if n := len(list) + len(strange); n < 200 {
		t.Errorf("only %d bad values", n)
	}
	var records [][]byte
	good := events(len(list), today())
	for i, v := range list {
		records = append(records, v.In(t, good[i]), at(today()).AppendJSON(nil))
	}
	for _, whole := range strange {
		records = append(records, []byte(whole), at(today()).AppendJSON(nil))
	}
	big, refused := at(today()), at(today())
	big.URL, big.Referrer, refused.Title = noise(2048), noise(2048), "refused"
	records = append(records, encoded(big, refused)...)

	write(t, s, part(0, 0, records...))

	rows, dead := int64(len(list)+len(strange)), int64(len(strange)+2)
	for _, v := range list {
		if v.Row {
			rows++
		} else {
			dead++
		}
	}
	wantCounts(t, url, counts{rows: rows, in: int64(len(records)), inserted: rows, dead: dead, letters: dead})
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	for i, v := range list {
		var stored *string
		var letters int
		err := c.QueryRow(t.Context(), `select (select case $3 when 'ip' then host(ip)
				when 'props' then props::text else to_jsonb(e)->>$3 end
				from footfall.events e where event_id = $1 and occurred_at = $4),
			(select count(*) from footfall.dead_letters where record_offset = $2 and value = $5)`,
			[16]byte(good[i].EventID), 2*i, v.Field, good[i].OccurredAt, records[2*i]).Scan(&stored, &letters)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if stored != nil {
			got = *stored
		}
		if v.Row && (letters > 0 || got != v.Stored) || !v.Row && letters != 1 {
			t.Errorf("%s = %.60s: stored %.60q, %d dead letters; want row %v, %.60q", v.Field, v.JSON, got,
				letters, v.Row, v.Stored)
		}
	}
	for state, want := range map[string]int{"54000": 1, "23514": 1} {
		if n := pgtest.Get[int](t, url, "select count(*) from footfall.dead_letters where sqlstate = $1",
			state); n != want {
			t.Errorf("%d dead letters of %s, want %d", n, state, want)
		}
	}
}

// noise is text that no compression makes shorter.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
	}
	return string(b)
}
