package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Retention says for how long events are kept, by the day of occurred_at; 0 is for ever.
type Retention struct {
	All   time.Duration            // the whole table: days are dropped, rows without a partition deleted
	Sites map[string]time.Duration // of some sites: their rows are deleted
}

// expire drops and deletes the days that are over.
func (s *Store) expire(ctx context.Context, now time.Time) error {
	if s.retention == nil {
		return nil
	}
	r, err := s.retention()
	if err != nil {
		return fmt.Errorf("read retention: %w", err)
	}
	err = s.expireAll(ctx, now, r.All)
	for _, site := range slices.Sorted(maps.Keys(r.Sites)) {
		err = errors.Join(err, s.expireSite(ctx, now, site, r.Sites[site]))
	}
	if noRight(err) {
		return fmt.Errorf("this user may not erase, so nothing is: grant it %s: %w", roleEraser, err)
	}
	return err
}

// over returns the first day that is not over.
func over(now time.Time, keep time.Duration) time.Time { return dayStart(dayOf(now.Add(-keep))) }

func (s *Store) expireAll(ctx context.Context, now time.Time, keep time.Duration) error {
	if keep <= 0 {
		return nil
	}
	// By name and not by bounds: what somebody attached under another name is theirs.
	rows, err := s.pool.Query(ctx, `select to_date(substr(c.relname, 8), 'YYYYMMDD') as day
		from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent = 'footfall.events'::regclass and c.relname ~ '^events_[0-9]{8}$'
			and to_date(substr(c.relname, 8), 'YYYYMMDD') < $1 order by day`, over(now, keep))
	if err != nil {
		return fmt.Errorf("list old partitions: %w", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return fmt.Errorf("list old partitions: %w", err)
	}
	for _, day := range days {
		var dropped bool
		err := s.pool.QueryRow(ctx, "select footfall.drop_day($1)", day).Scan(&dropped)
		if err != nil {
			return fmt.Errorf("drop %s: %w", partitionName(dayOf(day)), err)
		}
		s.log.Info("partition dropped: retention is over", "partition", partitionName(dayOf(day)), "dropped", dropped)
	}
	return s.expireStray(ctx, over(now, keep))
}

// expireStray deletes the rows in events_default that occurred before until, a day at a
// time, and writes them off. By way of footfall.events, which is what an eraser has a
// right to; the days that are not over are not looked into.
func (s *Store) expireStray(ctx context.Context, until time.Time) error {
	for {
		var first *time.Time
		err := s.pool.QueryRow(ctx, `select min(occurred_at) from footfall.events
			where occurred_at < $1 and tableoid = 'footfall.events_default'::regclass`, until).Scan(&first)
		if err != nil {
			return fmt.Errorf("look for old rows in footfall.events_default: %w", err)
		}
		if first == nil {
			return nil
		}
		day := dayOf(*first)
		var n int64
		err = s.pool.QueryRow(ctx, `with gone as (
				delete from footfall.events where occurred_at >= $1 and occurred_at < $2
					and tableoid = 'footfall.events_default'::regclass
				returning site, occurred_at),
			told as (
				insert into footfall.tallies (site, hour, n_erased)
				select site, date_trunc('hour', occurred_at, 'UTC'), count(*) from gone
				group by 1, 2)
			select count(*) from gone`, dayStart(day), dayStart(day+1)).Scan(&n)
		if err != nil {
			return fmt.Errorf("erase %s from footfall.events_default: %w",
				dayStart(day).Format(time.DateOnly), err)
		}
		if n == 0 {
			return nil // another store is at it
		}
		s.log.Info("rows erased: retention is over", "partition", "footfall.events_default",
			"day", dayStart(day).Format(time.DateOnly), "rows", n)
	}
}

// expireSite deletes a day at a time, each in a transaction of its own.
func (s *Store) expireSite(ctx context.Context, now time.Time, site string, keep time.Duration) error {
	if keep <= 0 {
		return nil
	}
	for {
		var first *time.Time
		err := s.pool.QueryRow(ctx, `select min(occurred_at) from footfall.events
			where site = $1 and occurred_at < $2`, site, over(now, keep)).Scan(&first)
		if err != nil || first == nil {
			return err
		}
		var n int64
		day := dayStart(dayOf(*first))
		if err := s.pool.QueryRow(ctx, "select footfall.erase_day($1, $2)", site, day).Scan(&n); err != nil {
			return fmt.Errorf("erase %s of site %s: %w", day.Format(time.DateOnly), site, err)
		}
		if n == 0 {
			return nil // another store is at it
		}
		s.log.Info("rows erased: retention of the site is over", "site", site,
			"day", day.Format(time.DateOnly), "rows", n)
	}
}
