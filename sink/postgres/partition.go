package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// The days that get a partition of their own: those around today at start and
// every ten minutes, others when a row of theirs comes. The server API takes events of
// 400 days ago, and they may wait for a month on the way. Rows beyond daysPast and
// daysFuture go to events_default: no sender can make thousands of tables.
const (
	daysBehind = 2
	daysAhead  = 7
	daysPast   = 430
	daysFuture = 2
)

const daySeconds = 24 * 60 * 60

type dayState byte

const (
	dayMade  dayState = iota + 1
	dayStray          // its rows are in events_default
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

// daysPause is for how long no partition is made after one that had to wait: behind a long
// reader each of them waits a second, and a batch can have hundreds.
const daysPause = 10 * time.Second

// ensureDays makes the partitions that are not known to exist. While events_default is in
// use it makes none, which is no error.
func (s *Store) ensureDays(ctx context.Context, days []int64) error {
	for _, day := range days {
		s.mu.Lock()
		_, known := s.days[day]
		later := time.Now().Before(s.daysFrom)
		s.mu.Unlock()
		if known {
			continue
		}
		if later {
			return nil
		}
		state, err := s.makeDay(ctx, day)
		if err != nil {
			return fmt.Errorf("make partition %s: %w", partitionName(day), err)
		}
		s.mu.Lock()
		if state == 0 {
			s.daysFrom = time.Now().Add(daysPause)
		} else {
			s.days[day] = state
		}
		s.mu.Unlock()
	}
	return nil
}

// forgetDays makes the next batch, or tidy, look again which partitions there are: somebody
// may have dropped one.
func (s *Store) forgetDays() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.days)
	s.daysFrom = time.Time{}
}

// makeDay makes one partition, and reports 0 when it could not now but rows may go
// on to events_default. The function it calls has the right to do so that a sink has
// not, and says what it locks.
func (s *Store) makeDay(ctx context.Context, day int64) (dayState, error) {
	name := partitionName(day)
	var state string
	err := s.pool.QueryRow(ctx, "select footfall.make_day($1)", dayStart(day)).Scan(&state)
	if lockTimeout(err) {
		s.log.Warn("partition waits: footfall.events_default is in use", "partition", name)
		return 0, nil
	}
	switch {
	case err != nil:
		return 0, err
	case state == "stray" || state == "taken":
		s.meters.strayDays.Inc()
		s.log.Warn("rows of a day go to footfall.events_default", "partition", name, "why", state)
		return dayStray, nil
	}
	return dayMade, nil
}

// drain moves rows out of events_default, day by day, into partitions of their own. Days
// too far away keep none, and a day whose table is there and detached cannot have one.
func (s *Store) drain(ctx context.Context, now time.Time) error {
	rows, err := s.pool.Query(ctx, `select distinct (occurred_at at time zone 'UTC')::date as day
		from footfall.events_default where occurred_at >= $1 and occurred_at < $2 order by day`,
		dayStart(dayOf(now)-daysPast), dayStart(dayOf(now)+daysAhead+1))
	if err != nil {
		return fmt.Errorf("look into footfall.events_default: %w", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return fmt.Errorf("look into footfall.events_default: %w", err)
	}
	var errs []error
	for _, day := range days {
		var n int64
		err := s.pool.QueryRow(ctx, "select footfall.drain_day($1)", day).Scan(&n)
		if err != nil {
			errs = append(errs, fmt.Errorf("drain footfall.events_default of %s: %w",
				day.Format(time.DateOnly), err))
			continue
		}
		if n > 0 {
			s.log.Info("rows moved from footfall.events_default", "partition",
				partitionName(dayOf(day)), "rows", n)
		}
	}
	return errors.Join(errs...)
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
