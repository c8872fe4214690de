package sink

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// judge compares the database with what was sent.
func (x *run) judge(ctx context.Context) error {
	x.v.Records, x.v.Expected = x.o.acked, len(x.o.rows)
	for _, look := range []func(context.Context, *pgx.Conn) error{x.judgeRows, x.judgeLetters, x.judgeLedger} {
		if err := x.sql(ctx, func(c *pgx.Conn) error { return look(ctx, c) }); err != nil {
			return err
		}
	}
	x.audit(ctx)
	return nil
}

// judgeRows streams all rows past the oracle, in whatever order they lie.
func (x *run) judgeRows(ctx context.Context, c *pgx.Conn) error {
	seen := make(map[event.UUID]bool, len(x.o.rows))
	w := &lines{do: func(b []byte) {
		x.v.Rows++
		first, _, _ := bytes.Cut(b, []byte{'\t'})
		id, err := event.ParseUUID(string(first))
		want, known := x.o.rows[id]
		switch {
		case err != nil || !known:
			x.v.Invented++
		case seen[id]:
			x.v.Doubled++
		case hashOf(b) != want:
			x.v.Altered++
			if x.v.Altered == 1 {
				x.v.problem("the first altered row is %q", b)
			}
		}
		seen[id] = true
	}}
	_, err := c.PgConn().CopyTo(ctx, w, "copy (select "+selection+" from footfall.events) to stdout")
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	for id := range x.o.rows {
		if !seen[id] {
			x.v.Lost++
		}
	}
	return nil
}

// lines cuts a stream into lines.
type lines struct {
	rest []byte
	do   func([]byte)
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		at := bytes.IndexByte(p, '\n')
		if at < 0 {
			l.rest = append(l.rest, p...)
			return n, nil
		}
		if len(l.rest) > 0 {
			l.rest = append(l.rest, p[:at]...)
			l.do(l.rest)
			l.rest = l.rest[:0]
		} else {
			l.do(p[:at])
		}
		p = p[at+1:]
	}
}

// judgeLetters wants one dead letter of each record that has to be one, with its bytes.
func (x *run) judgeLetters(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, `select partition, record_offset, reason, coalesce(sqlstate, ''), key, value
		from footfall.dead_letters`)
	if err != nil {
		return err
	}
	seen := map[place]bool{}
	var at place
	var got fate
	var key, value []byte
	_, err = pgx.ForEachRow(rows, []any{&at.partition, &at.offset, &got.reason, &got.sqlstate, &key, &value}, func() error {
		x.v.Dead++
		want, known := x.o.letters[at]
		switch {
		case !known || seen[at]:
			x.wrong("%v: nobody expected a dead letter (%s %s)", at, got.reason, got.sqlstate)
		case want.reason != got.reason || want.sqlstate != got.sqlstate:
			x.wrong("%v: %s %s instead of %s %s", at, got.reason, got.sqlstate, want.reason, want.sqlstate)
		case want.key != hashOf(key) || want.value != hashOf(value):
			x.wrong("%v: other bytes than were sent", at)
		}
		seen[at] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	for at, want := range x.o.letters {
		if !seen[at] {
			x.wrong("%v: no dead letter (%s %s)", at, want.reason, want.sqlstate)
		}
	}
	return nil
}

func (x *run) wrong(format string, args ...any) {
	if x.v.DeadWrong++; x.v.DeadWrong <= 3 {
		x.v.problem(format, args...)
	}
}

// judgeLedger wants ranges that touch, from the log's start to the position, with sums
// that are those of the tables. Every offset of the topic is a record: nothing compacts
// it, and no transaction leaves marks.
func (x *run) judgeLedger(ctx context.Context, c *pgx.Conn) error {
	var broken, unequal, records, inserted, dead int
	err := c.QueryRow(ctx, `
		with l as (select *, coalesce(lag(to_offset) over (partition by cluster_id, topic_id, partition
			order by from_offset), 0) as reached from footfall.ledger),
		ends as (select cluster_id, topic_id, partition, max(to_offset) as reached, sum(n_in) as n
			from footfall.ledger group by 1, 2, 3)
		select (select count(*) from l where from_offset <> reached or to_offset <= from_offset
				or n_in <> to_offset - from_offset or n_in <> n_inserted + n_duplicate + n_dead),
			(select count(*) from footfall.sink_offsets o left join ends e using (cluster_id, topic_id, partition)
				where o.next_offset <> coalesce(e.reached, 0) or o.next_offset <> coalesce(e.n, 0)),
			coalesce(sum(n_in), 0), coalesce(sum(n_inserted), 0), coalesce(sum(n_duplicate), 0), coalesce(sum(n_dead), 0)
		from footfall.ledger`).Scan(&broken, &unequal, &records, &inserted, &x.v.Duplicates, &dead)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	if broken > 0 || unequal > 0 {
		x.v.problem("%d rows of the ledger do not touch or add up, %d positions are not where it ends", broken, unequal)
	}
	if records != x.v.Records || inserted != x.v.Rows || dead != x.v.Dead {
		x.v.problem("the ledger says %d records, %d rows and %d dead letters; there are %d, %d and %d",
			records, inserted, dead, x.v.Records, x.v.Rows, x.v.Dead)
	}
	return nil
}

// audit lets the product judge too: it compares more accounts than are looked at here.
func (x *run) audit(ctx context.Context) {
	out, err := exec.CommandContext(ctx, x.s.bin, "audit", "--brokers", x.s.kafka.Addresses, "--topic", x.topic,
		"--database-url", x.url, "--within", "0s").CombinedOutput()
	if err != nil && ctx.Err() == nil {
		x.v.problem("audit says %v: %s", err, strings.TrimSpace(string(out)))
	}
}
