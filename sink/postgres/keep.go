package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A store looks after its tables now and then, and sooner when something was in the way,
// which may be a reader of a few seconds.
const (
	keepEvery  = 10 * time.Minute
	untidyMost = time.Minute
)

// keep looks after the tables until ctx ends.
func (s *Store) keep(ctx context.Context) {
	for next := keepEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
			if next = keepEvery; !s.tidy(ctx, time.Now()) {
				next = untidyMost
			}
		}
	}
}

// tidy makes the next days' partitions, empties events_default, drops what is too old,
// adds up the accounts, and looks for what a person should know. Whatever of it fails
// is tried again the next time. It reports whether nothing did.
func (s *Store) tidy(ctx context.Context, now time.Time) bool {
	s.forgetDays()
	var untidy []error
	for _, do := range []func(context.Context, time.Time) error{
		func(ctx context.Context, now time.Time) error { return s.ensureDays(ctx, daysAround(now)) },
		s.drain, s.expire, s.fold,
	} {
		step, cancel := context.WithTimeout(ctx, s.limits.tables)
		err := do(step, now)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("tables are not all tidy", "err", err)
			untidy = append(untidy, err)
		}
	}
	if err := errors.Join(untidy...); ctx.Err() == nil {
		s.untidy.Store(&err)
	}
	if err := s.inspect(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("database is not checked", "err", err)
	}
	return len(untidy) == 0
}

func (s *Store) fold(ctx context.Context, _ time.Time) error {
	if _, err := s.pool.Exec(ctx, "select footfall.fold()"); err != nil {
		return fmt.Errorf("add up accounts: %w", err)
	}
	return nil
}

// inspect looks for what endangers events, for Warning.
func (s *Store) inspect(ctx context.Context) error {
	r, err := s.check(ctx)
	if err != nil {
		return needs(err, roleIngest)
	}
	var list []error
	for _, p := range r.Problems() {
		list = append(list, errors.New(p))
	}
	s.meters.strayRows.Set(float64(r.StrayRows))
	warning := errors.Join(list...)
	if was := s.warning.Swap(&warning); warning != nil && (was == nil || *was == nil || (*was).Error() != warning.Error()) {
		s.log.Warn("database needs a look", "problems", r.Problems())
	}
	return nil
}

// Warning says what endangers stored events: settings of the server, rows without a
// partition; and what of tidying failed, such as retention. Nil when all is well. As of the
// last look, ten minutes ago at most.
func (s *Store) Warning() error {
	var list []error
	for _, w := range []*error{s.warning.Load(), s.untidy.Load()} {
		if w != nil {
			list = append(list, *w)
		}
	}
	return errors.Join(list...)
}
