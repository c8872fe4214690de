package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/event"
)

// The days that get a partition of their own: those around today at start and
// every hour, others when a row of theirs comes. Rows beyond daysPast and
// daysFuture go to events_default: no sender can make thousands of tables.
const (
	daysBehind = 2
	daysAhead  = 7
	daysPast   = 400
	daysFuture = 2
)

const daySeconds = 24 * 60 * 60

// partitionLock is held while a partition is made.
const partitionLock = 0x666f6f7464617973 // "footdays"

type dayState byte

const (
	dayMade  dayState = iota + 1
	dayStray          // its rows are in events_default already
)

func dayOf(t time.Time) int64 {
	s := t.Unix()
	if s < 0 {
		s -= daySeconds - 1
	}
	return s / daySeconds
}

func dayStart(day int64) time.Time { return time.Unix(day*daySeconds, 0).UTC() }

func daysAround(now time.Time) []int64 {
	today := dayOf(now)
	var days []int64
	for d := today - daysBehind; d <= today+daysAhead; d++ {
		days = append(days, d)
	}
	return days
}

// keepDays makes the next days' partitions until ctx ends.
func (s *Store) keepDays(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.forgetDays() // somebody may have dropped one
			if err := s.ensureDays(ctx, daysAround(now)); err != nil && ctx.Err() == nil {
				s.log.Warn("partitions are not all made", "err", err)
			}
		}
	}
}

// ensureDays makes the partitions that are not known to exist.
func (s *Store) ensureDays(ctx context.Context, days []int64) error {
	for _, day := range days {
		s.mu.Lock()
		_, known := s.days[day]
		s.mu.Unlock()
		if known {
			continue
		}
		state, err := s.makeDay(ctx, day)
		if err != nil {
			return fmt.Errorf("make partition %s: %w", partitionName(day), err)
		}
		if state == 0 {
			continue
		}
		s.mu.Lock()
		s.days[day] = state
		s.mu.Unlock()
	}
	return nil
}

// forgetDays makes the next batch look again which partitions there are.
func (s *Store) forgetDays() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.days)
}

// makeDay makes one partition, and reports 0 when it could not now but rows may go
// on to events_default.
func (s *Store) makeDay(ctx context.Context, day int64) (dayState, error) {
	name := partitionName(day)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return attachDay(ctx, tx, day) })
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return dayMade, nil
	case ok && pg.Code == "23514":
		s.meters.strayDays.Inc()
		s.log.Warn("rows of a day stay in footfall.events_default",
			"partition", name, "detail", pg.Message)
		return dayStray, nil
	case ok && pg.Code == "55P03":
		s.log.Warn("partition waits: footfall.events_default is in use", "partition", name)
		return 0, nil
	}
	return 0, err
}

// attachDay makes a table and attaches it, which readers of the parent do not
// notice: CREATE TABLE … PARTITION OF would lock them out. Only events_default is
// locked for the moment of the check that it has no row of the day.
func attachDay(ctx context.Context, tx pgx.Tx, day int64) error {
	name := partitionName(day)
	if _, err := tx.Exec(ctx, "set local lock_timeout = '1s'"); err != nil {
		return err
	}
	const lock = "select pg_advisory_xact_lock($1)"
	if _, err := tx.Exec(ctx, lock, int64(partitionLock)); err != nil {
		return err
	}
	var there bool
	const ask = "select to_regclass($1) is not null"
	if err := tx.QueryRow(ctx, ask, name).Scan(&there); err != nil || there {
		return err
	}
	const form = "2006-01-02 15:04:05+00"
	_, err := tx.Exec(ctx, fmt.Sprintf(`create table %[1]s
		(like footfall.events including defaults including constraints);
		alter table footfall.events attach partition %[1]s for values from ('%[2]s') to ('%[3]s')`,
		name, dayStart(day).Format(form), dayStart(day+1).Format(form)),
		pgx.QueryExecModeSimpleProtocol)
	return err
}

func partitionName(day int64) string {
	return "footfall.events_" + dayStart(day).Format("20060102")
}

// days returns the days of the batch that may have a partition of their own.
func (w *work) days(now time.Time) []int64 {
	today := dayOf(now)
	var days []int64
	for i := range w.rows {
		r := &w.rows[i]
		if r.state == refused {
			continue
		}
		d := dayOf(event.UUID(r.id).Time())
		if d >= today-daysPast && d <= today+daysFuture && !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	return days
}
