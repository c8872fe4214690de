package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// limits bound for how long a transaction may hold up others.
type limits struct {
	statement time.Duration // runs
	lock      time.Duration // waits for another's
}

var defaultLimits = limits{statement: time.Minute, lock: 20 * time.Second}

// settings is the statement that sets them for a transaction. Local ones, so that they hold
// behind a pooler too; a stopped sink must not keep its lock on the positions for ever.
//
// While the server waits for data, in COPY or between two messages, it acts on none of
// these. There keepalives end a session whose host is gone, within a minute, and
// endStalled one whose host answers for a process that does not.
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

// lockTimeout reports whether an error says that another's lock was not to be had in time.
func lockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55P03"
}

// endStalled ends the sessions that hold one of these positions and are past all time for
// it: a statement that has run for longer than it may, and of which the server still waits
// for the rest. When that comes after all it is cancelled anyway. Only those of the same
// role, which needs no right. It returns how many there were.
//
// Who updates a row is in the old version's xmax. That the transaction is over by which we
// waited for it does no harm: the other's is not.
func (s *Store) endStalled(ctx context.Context, cluster string, topicID [16]byte, partitions []int32) (n int) {
	rows, err := s.pool.Query(ctx, `select pid, application_name, coalesce(host(client_addr), 'local'),
			query_start, pg_terminate_backend(pid)
		from pg_stat_activity where usename = current_user and state = 'active' and wait_event = 'ClientRead'
			and query_start < clock_timestamp() - $4::interval
			and pid in (select l.pid from footfall.sink_offsets o
				join pg_locks l on l.locktype = 'transactionid' and l.transactionid = o.xmax and l.granted
				where o.cluster_id = $1 and o.topic_id = $2 and o.partition = any($3))`,
		cluster, topicID, partitions, s.limits.statement)
	if err == nil {
		defer rows.Close()
		var pid int32
		var application, address string
		var since time.Time
		var ended bool
		for rows.Next() {
			if err := rows.Scan(&pid, &application, &address, &since, &ended); err != nil {
				break // as rows.Err says
			}
			s.log.Warn("session is ended: it holds a position, and has stopped in the middle of a statement",
				"pid", pid, "application", application, "address", address, "since", since, "ended", ended)
			n++
		}
		err = rows.Err()
	}
	if err != nil {
		s.log.Warn("nobody knows who holds the positions", "partitions", partitions, "err", err)
	}
	return n
}
