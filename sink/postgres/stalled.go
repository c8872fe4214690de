package postgres

import (
	"context"
	"time"
)

// lockTimeout reports whether an error says that another's lock was not to be had in time.
func lockTimeout(err error) bool {
	return hasState(err, "55P03")
}

// endStalled ends the sessions that hold one of these positions and are past all time for
// it: a statement that has run for longer than it may, and of which the server still waits
// for the rest, or for somebody to read the answer. When that comes after all it is cancelled
// anyway. Only those of the same role, which needs no right. It returns how many there were.
//
// Who updates a row is in the old version's xmax. That the transaction is over by which we
// waited for it does no harm: the other's is not.
func (s *Store) endStalled(ctx context.Context, cluster string, topicID [16]byte, partitions []int32) (n int) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `select pid, application_name, coalesce(host(client_addr), 'local'),
			query_start, pg_terminate_backend(pid)
		from pg_stat_activity where usename = current_user and state = 'active'
			and wait_event in ('ClientRead', 'ClientWrite')
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
