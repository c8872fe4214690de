package postgres

import (
	"context"
	"fmt"
	"time"
)

// limits bound for how long one thing may hold up others. A network that is silent, or a
// server behind it that is frozen, ends no call: connections stay open and nothing is
// answered. So each call of a running sink ends by itself at one of these, and is tried
// again like any other that failed. Migrations take as long as they take, and so does what
// a person wants of all rows: there keepalives notice a host that is gone.
type limits struct {
	statement time.Duration // a statement of a batch runs, by the server's clock
	lock      time.Duration // and waits for another's

	ask      time.Duration // an answer of a few rows; Connect adds what connecting takes
	task     time.Duration // an attempt at a batch, a look at the tables
	tables   time.Duration // a step of tidy; the days that it is done with stay done
	rollback time.Duration // if it takes longer the connection ends, which does the same
}

var defaultLimits = limits{
	statement: time.Minute, lock: 20 * time.Second,
	ask: 10 * time.Second, task: 3 * time.Minute, tables: time.Hour, rollback: 5 * time.Second,
}

// ask bounds a question.
func (s *Store) ask(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.limits.ask)
}

// task bounds a transaction, or what takes about as long.
func (s *Store) task(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.limits.task)
}

// within does something within a task.
func (s *Store) within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := s.task(ctx)
	defer cancel()
	return do(ctx)
}

// settings is the statement that sets them for a transaction. Local ones, so that they hold
// behind a pooler too; a stopped sink must not keep its lock on the positions for ever.
//
// While the server waits for data, in COPY or between two messages, or for an answer to be
// read, it acts on none of these. There keepalives end a session whose host is gone, within a
// minute, and endStalled one whose host answers for a process that does not.
func (l limits) settings() string {
	return fmt.Sprintf(`select set_config('statement_timeout', '%d', true),
		set_config('lock_timeout', '%d', true),
		set_config('idle_in_transaction_session_timeout', '10s', true),
		set_config('tcp_keepalives_idle', '15', true),
		set_config('tcp_keepalives_interval', '15', true),
		set_config('tcp_keepalives_count', '3', true),
		case when version() like '%%linux%%' then set_config('tcp_user_timeout', '60s', true) end,
		case when current_setting('synchronous_commit') = 'off'
			then set_config('synchronous_commit', 'on', true) end`,
		l.statement.Milliseconds(), l.lock.Milliseconds())
}
