package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres"

	"github.com/jackc/pgx/v5"
)

// database is the server under test, with the product's tables.
type database struct {
	url   string
	conn  *pgx.Conn
	store *postgres.Store
}

func openDatabase(ctx context.Context, url string) (*database, error) {
	store, err := postgres.Open(ctx, postgres.Options{DatabaseURL: url})
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		store.Close()
		return nil, err
	}
	return &database{url, conn, store}, nil
}

func (d *database) close() {
	d.conn.Close(context.Background())
	d.store.Close()
}

// empty leaves the tables as after the first start, and nothing to be written back.
func (d *database) empty(ctx context.Context) error {
	_, err := d.conn.Exec(ctx, `truncate footfall.events, footfall.sink_offsets, footfall.ledger,
		footfall.dead_letters, footfall.tallies, footfall.arrivals, footfall.spools; checkpoint`,
		pgx.QueryExecModeSimpleProtocol)
	return err
}

func columns() string {
	names := make([]string, len(event.Fields))
	for i := range event.Fields {
		names[i] = event.Fields[i].Name
	}
	return strings.Join(names, ", ")
}

// serverFile has the server write what the table holds into a binary file, in a directory
// that it may write to.
func (d *database) serverFile(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "events.copy")
	_, err := d.conn.Exec(ctx, fmt.Sprintf("copy (select %s from footfall.events order by event_id) to '%s' (format binary)",
		columns(), path))
	return path, err
}

// serverCopy is the limit: the server reads rows from a file of its own.
func (d *database) serverCopy(ctx context.Context, path string) (rows int64, took time.Duration, err error) {
	began := time.Now()
	tag, err := d.conn.Exec(ctx, fmt.Sprintf("copy footfall.events (%s) from '%s' (format binary)", columns(), path))
	return tag.RowsAffected(), time.Since(began), err
}

// writeBatches has the sink's store write prepared batches, one after the other.
func (d *database) writeBatches(ctx context.Context, list []consume.Batch) (rows int64, took time.Duration, err error) {
	if _, err := d.store.Positions(ctx, "bench", "bench", [16]byte{}, map[int32]int64{0: 0}); err != nil {
		return 0, 0, err
	}
	var writes []func(context.Context) error
	for _, b := range list {
		writes = append(writes, d.store.Prepare(b))
		rows += int64(len(b.Parts[0].Records))
	}
	began := time.Now()
	for _, write := range writes {
		if err := write(ctx); err != nil {
			return 0, 0, err
		}
	}
	return rows, time.Since(began), nil
}

func (d *database) count(ctx context.Context) (rows int, err error) {
	err = d.conn.QueryRow(ctx, "select count(*) from footfall.events").Scan(&rows)
	return rows, err
}

// fill makes the table hold so many rows of the days before today, in the order of time.
func (d *database) fill(ctx context.Context, rows int) error {
	have, err := d.count(ctx)
	if err != nil || have >= rows {
		return err
	}
	_, err = d.conn.Exec(ctx, fmt.Sprintf(`insert into footfall.events (%[1]s)
		select %[2]s from generate_series(%[3]d, %[4]d) i,
			lateral (select floor(extract(epoch from now() - interval '20 h') * 1000)::bigint - 3600000 + i / 6 as ms) t,
			(select * from footfall.events limit 1) e`,
		columns(), strings.NewReplacer("event_id", `(lpad(to_hex(ms), 12, '0') || '7' || substr(md5(i::text), 1, 3) ||
			'8' || substr(md5(i::text), 4, 15))::uuid`, "occurred_at", "to_timestamp(ms / 1000.0)").Replace(columns()),
		have+1, rows))
	if err != nil {
		return fmt.Errorf("fill the table with %d rows: %w", rows, err)
	}
	_, err = d.conn.Exec(ctx, "vacuum analyze footfall.events")
	if err == nil {
		_, err = d.conn.Exec(ctx, "checkpoint")
	}
	return err
}

// keepRows sets the rows of the table aside, for freshFile.
func (d *database) keepRows(ctx context.Context) error {
	_, err := d.conn.Exec(ctx, "create unlogged table if not exists bench_rows as select * from footfall.events")
	return err
}

// freshFile has the server write the rows kept into a binary file, as new events from first on.
func (d *database) freshFile(ctx context.Context, dir string, first time.Time) (string, error) {
	path := filepath.Join(dir, "fresh.copy")
	fresh := strings.NewReplacer("event_id", `(lpad(to_hex(ms), 12, '0') || '7' || substr(md5(i::text), 1, 3) ||
		'8' || substr(md5(i::text), 4, 15))::uuid`, "occurred_at", "to_timestamp(ms / 1000.0)").Replace(columns())
	_, err := d.conn.Exec(ctx, fmt.Sprintf(`copy (select %s from
		(select row_number() over () i, * from bench_rows) e,
		lateral (select %d + i - 1 as ms) t order by ms) to '%s' (format binary)`, fresh, first.UnixMilli(), path))
	return path, err
}

// sizes are what rows cost on the disk and in the log.
func (d *database) sizes(ctx context.Context) (disk, wal int64, err error) {
	err = d.conn.QueryRow(ctx, `select (select sum(pg_total_relation_size(relid))
		from pg_partition_tree('footfall.events'))::bigint, (pg_current_wal_lsn() - '0/0')::bigint`).Scan(&disk, &wal)
	return disk, wal, err
}

// awaitRows waits until these events are in the table. Looking by key costs next to
// nothing, however many rows there are.
func (d *database) awaitRows(ctx context.Context, list []*event.Event) error {
	ids, times := make([][16]byte, len(list)), make([]time.Time, len(list))
	for i, e := range list {
		ids[i], times[i] = e.EventID, e.OccurredAt
	}
	for n := 0; n < len(list); {
		if err := d.conn.QueryRow(ctx, `select count(*) from unnest($1::uuid[], $2::timestamptz[]) x (id, at)
			join footfall.events on event_id = id and occurred_at = at`, ids, times).Scan(&n); err != nil {
			return err
		}
		if n < len(list) {
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

// lasts are the newest event of each partition, as produce spreads them.
func lasts(list []*event.Event, partitions int) []*event.Event {
	byPartition := map[int]*event.Event{}
	for i, e := range list {
		byPartition[i/1000%partitions] = e
	}
	var out []*event.Event
	for _, e := range byPartition {
		out = append(out, e)
	}
	return out
}

// shared is a directory that the server's user may write to.
func shared(dir string) (string, error) {
	path := filepath.Join(dir, "shared")
	if err := os.Mkdir(path, 0o777); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o777)
}
