package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// Audit is what the accounts say of everything that was stored: of one moment, while
// sinks go on.
type Audit struct {
	// Since is where the examination of the ledger and the rows begins; zero: at the
	// beginning. Sums and spools are examined whole in any case.
	Since       time.Time        `json:"since,omitzero"`
	At          time.Time        `json:"at"` // of the snapshot
	Partitions  []AuditPartition `json:"partitions"`
	Rows        int64            `json:"rows"`    // in the table
	Counted     int64            `json:"counted"` // inserted less erased, as the transactions counted
	Erased      int64            `json:"erased"`
	DeadWaiting int64            `json:"dead_waiting"`
	DeadSettled int64            `json:"dead_settled"` // replayed or dropped
	Spools      []AuditSpool     `json:"spools"`
	Problems    []AuditProblem   `json:"problems"`
	NotKnown    []AuditProblem   `json:"not_known"` // what is one or is none; see DoubtSpools
}

// AuditPartition is the ledger of one partition.
type AuditPartition struct {
	Cluster   string     `json:"cluster"`
	Topic     string     `json:"topic"`
	TopicID   event.UUID `json:"topic_id"`
	Partition int32      `json:"partition"`
	Began     int64      `json:"began"` // offset of its log's start when a sink first came: what lay before was gone
	First     int64      `json:"first"` // offset of the first record, of those examined
	Next      int64      `json:"next"`  // stored position
	Lines     int64      `json:"lines"`
	In        int64      `json:"in"`
	Inserted  int64      `json:"inserted"`
	Duplicate int64      `json:"duplicate"`
	Dead      int64      `json:"dead"`
	Lost      int64      `json:"lost"` // offsets that a person skipped because they were gone
}

// AuditSpool is what has arrived from one collector's spool. Accepted is the numbers
// from First to Last that were given to accepted events, as far as the newest arrival
// tells; of them Arrived are here, Missing ought to be, and the rest is on its way.
// First is 1, or the first that arrived of a spool that is older than the accounts.
//
// A number is missing when a later one arrived AuditOptions.Within ago: a collector sends
// them in order, so this one was in Kafka by then, in some partition. Whether sinks have
// read all of them as far as that, only Kafka tells; see DoubtSpools.
type AuditSpool struct {
	Spool    event.UUID `json:"spool"`
	First    int64      `json:"first"`
	Last     int64      `json:"last"`
	Arrived  int64      `json:"arrived"`
	OnTheWay int64      `json:"on_the_way"`
	Missing  int64      `json:"missing"`
	NotKnown int64      `json:"not_known"`      // missing, or on their way; see DoubtSpools
	Gaps     [][2]int64 `json:"gaps,omitempty"` // of Missing and NotKnown, first and last number; the first few
}

// AuditProblem is one thing that does not add up.
type AuditProblem struct {
	Check  string `json:"check"` // ledger, position, dead, sums, rows or spool; topic and mongo of what is compared with them
	Detail string `json:"detail"`
}

// auditMost bounds how many problems of one check are told.
const auditMost = 20

// AuditWithin is how long after a later record of the same spool a record may come,
// before it is missing: the longest that the accounts can tell.
const AuditWithin = 10 * time.Minute

// AuditOptions say what is examined.
type AuditOptions struct {
	Since  time.Time
	Within time.Duration // 0 to AuditWithin; see there
}

// Audit examines the accounts. It changes nothing, and reads one snapshot. Problems are
// in the result; an error is that they could not be looked for.
func (s *Store) Audit(ctx context.Context, o AuditOptions) (*Audit, error) {
	a := &auditor{o: o, Audit: &Audit{Since: o.Since, Problems: []AuditProblem{}, NotKnown: []AuditProblem{},
		Spools: []AuditSpool{}}}
	if !o.Since.IsZero() {
		a.since = &o.Since
	}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead,
		AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select now()").Scan(&a.At); err != nil {
			return err
		}
		for _, check := range []func(context.Context, pgx.Tx) error{
			a.partitions, a.lines, a.letters, a.sums, a.rows, a.spools,
		} {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("audit: %w", needs(err, roleReader))
	}
	return a.Audit, nil
}

// DoubtSpools says of every number that was called missing that this is not known: for a
// caller who knows that a partition has unread records that are older than
// AuditOptions.Within. Any of them may be there, or may be lost.
func (a *Audit) DoubtSpools() {
	for i := range a.Spools {
		sp := &a.Spools[i]
		sp.NotKnown, sp.Missing = sp.NotKnown+sp.Missing, 0
	}
	sure := []AuditProblem{}
	for _, p := range a.Problems {
		if p.Check == spoolCheck {
			a.NotKnown = append(a.NotKnown, p)
		} else {
			sure = append(sure, p)
		}
	}
	a.Problems = sure
}

const spoolCheck = "spool"

type auditor struct {
	*Audit
	o     AuditOptions
	since *time.Time // nil: all
	told  map[string]int
}

func (a *auditor) problem(check, format string, args ...any) {
	if a.told == nil {
		a.told = map[string]int{}
	}
	a.told[check]++
	switch n := a.told[check]; {
	case n <= auditMost:
		a.Problems = append(a.Problems, AuditProblem{check, fmt.Sprintf(format, args...)})
	case n == auditMost+1:
		a.Problems = append(a.Problems, AuditProblem{check, "and more of this kind"})
	}
}

// partitions compares each partition's ledger with where it began and where its
// position is.
func (a *auditor) partitions(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `with l as (
			select cluster_id, topic_id, partition, min(from_offset) as begins, max(to_offset) as ends,
				coalesce(min(from_offset) filter (where committed_at >= $1 or $1 is null),
					max(to_offset)) as first,
				count(*) filter (where committed_at >= $1 or $1 is null) as lines,
				coalesce(sum(n_in) filter (where committed_at >= $1 or $1 is null), 0)::bigint as n_in,
				coalesce(sum(n_inserted) filter (where committed_at >= $1 or $1 is null), 0)::bigint as n_inserted,
				coalesce(sum(n_duplicate) filter (where committed_at >= $1 or $1 is null), 0)::bigint as n_duplicate,
				coalesce(sum(n_dead) filter (where committed_at >= $1 or $1 is null), 0)::bigint as n_dead,
				coalesce(sum(n_lost) filter (where committed_at >= $1 or $1 is null), 0)::bigint as n_lost
			from footfall.ledger group by 1, 2, 3)
		select cluster_id, coalesce(o.topic, '(unknown)'), topic_id, partition,
			coalesce(l.first, o.next_offset), coalesce(o.next_offset, -1), coalesce(l.lines, 0),
			coalesce(l.n_in, 0), coalesce(l.n_inserted, 0), coalesce(l.n_duplicate, 0),
			coalesce(l.n_dead, 0), coalesce(l.n_lost, 0), o.first_offset, l.begins, l.ends
		from l full join footfall.sink_offsets o using (cluster_id, topic_id, partition)
		order by 1, 2, 3, 4`, a.since)
	if err != nil {
		return err
	}
	var p AuditPartition
	var first, begins, ends *int64
	_, err = pgx.ForEachRow(rows, []any{&p.Cluster, &p.Topic, (*[16]byte)(&p.TopicID), &p.Partition,
		&p.First, &p.Next, &p.Lines, &p.In, &p.Inserted, &p.Duplicate, &p.Dead, &p.Lost, &first, &begins, &ends},
		func() error {
			p.Began = 0
			if first != nil {
				p.Began = *first
			}
			a.Partitions = append(a.Partitions, p)
			a.position(p, first, begins, ends)
			return nil
		})
	return err
}

// position is given where reading began, and where the ledger begins and ends; nil when
// that is unknown.
func (a *auditor) position(p AuditPartition, first, begins, ends *int64) {
	switch {
	case p.Next < 0:
		a.problem("position", "%s: the ledger has lines, and there is no position", p)
	case ends == nil && first != nil && *first != p.Next:
		a.problem("position", "%s: reading began at %d and the position is %d, and the ledger has no line",
			p, *first, p.Next)
	case ends != nil && *ends != p.Next:
		a.problem("position", "%s: the position is %d, and the ledger ends at %d", p, p.Next, *ends)
	}
	if begins != nil && first != nil && *begins != *first && a.since == nil {
		a.problem("ledger", "%s: reading began at %d, and the ledger at %d", p, *first, *begins)
	}
}

func (p AuditPartition) String() string {
	return fmt.Sprintf("%s/%d of cluster %s", p.Topic, p.Partition, p.Cluster)
}

// lines looks for gaps, overlaps and wrong sums inside the ledger.
func (a *auditor) lines(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select cluster_id, coalesce(o.topic, '(unknown)'), partition, id,
			from_offset, to_offset, before, n_in, n_inserted, n_duplicate, n_dead, n_lost
		from (select *, lag(to_offset) over (partition by cluster_id, topic_id, partition
				order by from_offset, to_offset, id) as before
			from footfall.ledger where committed_at >= $1 or $1 is null) l
		left join footfall.sink_offsets o using (cluster_id, topic_id, partition)
		where before <> from_offset or n_in <> n_inserted + n_duplicate + n_dead
			or n_in + n_lost > to_offset - from_offset or to_offset <= from_offset
			or least(n_inserted, n_duplicate, n_dead, n_lost) < 0
		order by 1, 2, 3, from_offset`, a.since)
	if err != nil {
		return err
	}
	var p AuditPartition
	var id, from, to int64
	var before *int64
	_, err = pgx.ForEachRow(rows, []any{&p.Cluster, &p.Topic, &p.Partition, &id, &from, &to, &before,
		&p.In, &p.Inserted, &p.Duplicate, &p.Dead, &p.Lost}, func() error {
		switch {
		case before != nil && *before < from:
			a.problem("ledger", "%s: no line has the offsets %d to %d", p, *before, from-1)
		case before != nil && *before > from:
			a.problem("ledger", "%s: offsets %d to %d are in two lines, one of them %d", p, from,
				min(*before, to)-1, id)
		}
		if p.In != p.Inserted+p.Duplicate+p.Dead || p.In+p.Lost > to-from || min(p.Inserted, p.Duplicate, p.Dead, p.Lost) < 0 {
			a.problem("ledger", "%s: line %d says that %d records of %d offsets became %d rows, "+
				"%d duplicates and %d dead letters", p, id, p.In, to-from, p.Inserted, p.Duplicate, p.Dead)
		}
		return nil
	})
	return err
}

// letters compares the dead letters that are there with the ledger's count.
func (a *auditor) letters(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `select count(*) filter (where outcome is null),
		count(*) filter (where outcome is not null) from footfall.dead_letters`).Scan(
		&a.DeadWaiting, &a.DeadSettled)
	if err != nil {
		return err
	}
	for _, p := range a.Partitions {
		var n int64
		err := tx.QueryRow(ctx, `select count(*) from footfall.dead_letters where cluster_id = $1
			and topic_id = $2 and partition = $3 and record_offset >= $4 and record_offset < $5`,
			p.Cluster, [16]byte(p.TopicID), p.Partition, p.First, p.Next).Scan(&n)
		if err != nil {
			return err
		}
		if n != p.Dead {
			a.problem("dead", "%s: the ledger counts %d dead letters, and there are %d", p, p.Dead, n)
		}
	}
	return nil
}

// sums compares the two accounts that each transaction writes, over all time.
func (a *auditor) sums(ctx context.Context, tx pgx.Tx) error {
	var l, t tally
	err := tx.QueryRow(ctx, `select l.i + d.i, l.d + d.d, l.x, t.i, t.d, t.x, t.e from
		(select coalesce(sum(n_inserted), 0)::bigint as i, coalesce(sum(n_duplicate), 0)::bigint as d,
			coalesce(sum(n_dead), 0)::bigint as x from footfall.ledger) l,
		(select count(*) filter (where outcome = 'inserted') as i,
			count(*) filter (where outcome = 'duplicate') as d from footfall.dead_letters) d,
		(select coalesce(sum(n_inserted), 0)::bigint as i, coalesce(sum(n_duplicate), 0)::bigint as d,
			coalesce(sum(n_dead), 0)::bigint as x, coalesce(sum(n_erased), 0)::bigint as e
			from footfall.tallies) t`).Scan(&l.inserted, &l.duplicate, &l.dead,
		&t.inserted, &t.duplicate, &t.dead, &a.Erased)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what            string
		ledger, tallies int64
	}{{"rows", l.inserted, t.inserted}, {"duplicates", l.duplicate, t.duplicate},
		{"dead letters", l.dead, t.dead}} {
		if c.ledger != c.tallies {
			a.problem("sums", "the ledger and replays count %d %s, the tallies of sites and hours %d"+recount,
				c.ledger, c.what, c.tallies)
		}
	}
	return nil
}

const recount = " (if you know why: select footfall.recount())"

// rows compares the table with what was counted, by site and hour.
func (a *auditor) rows(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `with c as (
			select site, hour, sum(n_inserted - n_erased)::bigint as n from footfall.tallies
			where hour >= date_trunc('hour', $1::timestamptz, 'UTC') or $1 is null group by 1, 2),
		r as (
			select site, date_trunc('hour', occurred_at, 'UTC') as hour, count(*) as n
			from footfall.events
			where occurred_at >= date_trunc('hour', $1::timestamptz, 'UTC') or $1 is null group by 1, 2),
		both_sides as (select site, hour, coalesce(c.n, 0) as counted, coalesce(r.n, 0) as rows
			from c full join r using (site, hour)),
		sums as (select coalesce(sum(counted), 0)::bigint as counted, coalesce(sum(rows), 0)::bigint as rows
			from both_sides)
		select null, null, counted, rows, true from sums
		union all
		select site, hour, counted, rows,
			footfall.day_state((hour at time zone 'UTC')::date) is not distinct from 'attached'
		from both_sides where counted <> rows order by 2 nulls first, 1`, a.since)
	if err != nil {
		return err
	}
	var site *string
	var hour *time.Time
	var counted, there int64
	var attached bool
	_, err = pgx.ForEachRow(rows, []any{&site, &hour, &counted, &there, &attached}, func() error {
		if site == nil {
			a.Counted, a.Rows = counted, there
			return nil
		}
		why := ""
		if !attached {
			why = fmt.Sprintf("; the day has no partition: was %s dropped or detached?",
				partitionName(dayOf(*hour)))
		}
		a.problem("rows", "site %q, hour %s: %d rows were stored, and %d are there%s"+recount, *site,
			hour.UTC().Format("2006-01-02T15Z"), counted, there, why)
		return nil
	})
	return err
}

// spools looks for numbers that were passed by later ones of the same spool.
func (a *auditor) spools(ctx context.Context, tx pgx.Tx) error {
	whole, err := wholeSince(ctx, tx)
	if err != nil {
		return err
	}
	const size = "(select coalesce(sum(upper(r) - lower(r)), 0)::bigint from unnest(%s) r)"
	rows, err := tx.Query(ctx, fmt.Sprintf(`with s as (
			select spool_id, range_agg(seqs) as here, upper(range_agg(seqs) filter
				(where note is null and at <= now() - $1::interval)) as due
			from footfall.arrivals group by 1),
		b as (select *, case when spool_id < $2 then lower(here) else least(1, lower(here)) end as begins from s),
		m as (select *, int8multirange(int8range(begins, upper(here))) - here as open,
				int8multirange(int8range(begins, coalesce(due, begins))) - here as missing from b)
		select spool_id, begins, upper(here) - 1, `+size+", "+size+", "+size+`,
			(select coalesce(array_agg(lower(r) order by r), '{}') from (
				select r from unnest(missing) r order by r limit 10) x),
			(select coalesce(array_agg(upper(r) - 1 order by r), '{}') from (
				select r from unnest(missing) r order by r limit 10) x)
		from m order by 1`, "here", "open", "missing"), a.o.Within, whole)
	if err != nil {
		return err
	}
	var sp AuditSpool
	var open int64
	var from, to []int64
	_, err = pgx.ForEachRow(rows, []any{(*[16]byte)(&sp.Spool), &sp.First, &sp.Last, &sp.Arrived, &open,
		&sp.Missing, &from, &to}, func() error {
		sp.OnTheWay, sp.Gaps = open-sp.Missing, nil
		for i := range from {
			sp.Gaps = append(sp.Gaps, [2]int64{from[i], to[i]})
			first := ""
			if from[i] == sp.First {
				first = ", nor any before them: gone before a sink first came, or stored in another database"
			}
			a.problem(spoolCheck, "%s: numbers %d to %d were accepted and are not here%s; if the collector "+
				"still has them: footfall spool replay --from %d --to %d", sp.Spool, from[i], to[i], first, from[i], to[i])
		}
		a.Spools = append(a.Spools, sp)
		return nil
	})
	return err
}

// wholeSince returns an id that is less than those of the spools whose numbers count from
// 1: all, unless the database is older than that migration, see there.
func wholeSince(ctx context.Context, tx pgx.Tx) (id [16]byte, err error) {
	var since *time.Time
	var knows bool
	// By way of JSON: a database that lacks the migration lacks the column too.
	err = tx.QueryRow(ctx, `select to_jsonb(v) ? 'spools_whole_since', (to_jsonb(v)->>'spools_whole_since')::timestamptz
		from footfall.schema_version v`).Scan(&knows, &since)
	switch {
	case err != nil:
		return id, err
	case !knows:
		return [16]byte(slices.Repeat([]byte{0xff}, 16)), nil
	case since == nil:
		return id, nil
	}
	id = event.NewUUID(*since)
	clear(id[6:])
	return id, nil
}
