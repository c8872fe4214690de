package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Report is what Check found.
type Report struct {
	Version           string // of the server, such as "15.18"
	Encoding          string // of the database, such as "UTF8"
	Fsync             bool
	FullPageWrites    bool
	SynchronousCommit string // a value of the setting of that name
	Migrations        int    // applied
	MigrationsWanted  int    // known to this program
	// Events is the number of rows, exact up to 100,000; beyond that it is the
	// planner's estimate and EventsExact is false.
	Events          int64
	EventsExact     bool
	DeadLetters     int64
	StrayRows       int64     // in events_default; StrayRowsMax stands for more
	OldestPartition time.Time // start of its day, UTC; zero when there is none
	NewestPartition time.Time // start of its day, UTC; zero when there is none
}

// StrayRowsMax bounds the counting of stray rows.
const StrayRowsMax = 1000

// Problems says in short sentences what endangers stored events.
func (r *Report) Problems() []string {
	var list []string
	if !r.Fsync {
		list = append(list, "fsync is off: a power cut can destroy the database")
	}
	if !r.FullPageWrites {
		list = append(list, "full_page_writes is off: a power cut can tear pages")
	}
	if r.SynchronousCommit == "off" {
		list = append(list, "synchronous_commit is off: the sink turns it on for its own commits")
	}
	if r.Encoding == sqlASCII {
		list = append(list, "encoding is SQL_ASCII: events are stored as the UTF-8 they are, but length, lower "+
			"and like see bytes, and what other programs write is not checked; "+
			"move to a database made with createdb NAME -E UTF8 -T template0")
	}
	if r.Migrations < r.MigrationsWanted {
		list = append(list, fmt.Sprintf("schema is at migration %d, this program knows %d: run footfall migrate",
			r.Migrations, r.MigrationsWanted))
	}
	if n := r.StrayRows; n > 0 {
		more := ""
		if n == StrayRowsMax {
			more = " and more"
		}
		list = append(list, fmt.Sprintf("events_default holds %d rows%s, of days without a partition", n, more))
	}
	return list
}

const checkSQL = `with days as (
	select c.relname from pg_partition_tree('footfall.events') t
	join pg_class c on c.oid = t.relid where t.isleaf and c.relname ~ '^events_[0-9]{8}$')
select current_setting('server_version'), current_setting('server_encoding'), current_setting('fsync')::bool,
	current_setting('full_page_writes')::bool, current_setting('synchronous_commit'),
	(select version from footfall.schema_version),
	(select count(*) from (select from footfall.events limit $1) x),
	(select count(*) from footfall.dead_letters),
	(select count(*) from (select from footfall.events_default limit $2) x),
	(select min(relname) from days), (select max(relname) from days)`

// Check looks at the server and the tables. It changes nothing.
func (s *Store) Check(ctx context.Context) (*Report, error) {
	r, err := s.check(ctx)
	return r, needs(err, roleReader)
}

func (s *Store) check(ctx context.Context) (*Report, error) {
	ctx, cancel := s.task(ctx)
	defer cancel()
	r := &Report{MigrationsWanted: migrationsWanted()}
	const exactMax = 100_000
	var oldest, newest *string
	err := s.pool.QueryRow(ctx, checkSQL, exactMax+1, StrayRowsMax).Scan(&r.Version, &r.Encoding, &r.Fsync,
		&r.FullPageWrites, &r.SynchronousCommit, &r.Migrations, &r.Events, &r.DeadLetters, &r.StrayRows,
		&oldest, &newest)
	if err != nil {
		return nil, fmt.Errorf("check database: %w", err)
	}
	r.OldestPartition, r.NewestPartition = partitionDay(oldest), partitionDay(newest)
	r.EventsExact = r.Events <= exactMax
	if r.EventsExact {
		return r, nil
	}
	const estimate = `select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
		from pg_partition_tree('footfall.events') t join pg_class c on c.oid = t.relid
		where t.isleaf`
	var n int64
	if err := s.pool.QueryRow(ctx, estimate).Scan(&n); err != nil {
		return nil, fmt.Errorf("check database: %w", err)
	}
	r.Events = max(r.Events, n)
	return r, nil
}

func partitionDay(name *string) time.Time {
	if name == nil {
		return time.Time{}
	}
	day, err := time.Parse("20060102", strings.TrimPrefix(*name, "events_"))
	if err != nil {
		return time.Time{}
	}
	return day
}
