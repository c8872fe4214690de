package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// Row is an event as it lies in the table.
type Row struct {
	event.Event
	LoadedAt time.Time // when it was inserted, by the database's clock
}

// RecentMax is the most rows one call of Recent returns.
const RecentMax = 1000

// Bounds of how long Recent waits for a transaction that is still open.
const (
	lateMax    = 15 * time.Second // at all
	lateUnseen = 5 * time.Second  // when its start is hidden: another role's
)

// ErrCursor says that a cursor did not come from Recent.
var ErrCursor = errors.New("unknown cursor")

// Recent returns rows in the order they were loaded (loaded_at, event_id), oldest
// first, and the cursor for the rows after them. Cursor "" returns the newest
// limit rows; an empty answer returns the cursor it was given. limit is taken as 1
// to RecentMax.
//
// A row's loaded_at is older than its commit. So that a transaction that commits
// late is not passed over, only rows older than the start of every transaction
// that is now writing events are returned: behind a cursor nothing appears any
// more, no row comes twice, and a row is seen once the transactions that were
// running at its commit have ended. The bound: a transaction that stays open for
// more than 15 seconds is no longer waited for, and its rows may be missed. Of the
// sink's that is one that waits for a lock or a slow disk, or whose sender stalls in
// the middle of COPY: a stopped one must not hold up the view. So may those of a
// transaction of another role after 5 seconds, if this role may not see its start
// (pg_read_all_stats lets it).
func (s *Store) Recent(ctx context.Context, cursor string, limit int) ([]Row, string, error) {
	limit = min(max(limit, 1), RecentMax)
	ctx, cancel := s.task(ctx)
	defer cancel()
	after, id, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	horizon, newest, err := s.horizon(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("read recent events: %w", needs(err, roleReader))
	}
	var rows []Row
	if cursor == "" {
		rows, err = s.newest(ctx, newest, horizon, limit)
	} else {
		rows, err = s.following(ctx, after, id, horizon, limit)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read recent events: %w", needs(err, roleReader))
	}
	if len(rows) > 0 {
		last := &rows[len(rows)-1]
		cursor = strconv.FormatInt(last.LoadedAt.UnixMicro(), 10) + "/" + last.EventID.String()
	}
	return rows, cursor, nil
}

func parseCursor(s string) (time.Time, event.UUID, error) {
	if s == "" {
		return time.Time{}, event.UUID{}, nil
	}
	micros, text, _ := strings.Cut(s, "/")
	n, err := strconv.ParseInt(micros, 10, 64)
	id, idErr := event.ParseUUID(text)
	if err != nil || idErr != nil {
		return time.Time{}, id, fmt.Errorf("%w: %q", ErrCursor, s)
	}
	return time.UnixMicro(n).UTC(), id, nil
}

// horizon returns the time before which no row will appear any more, and one near
// the newest rows. A transaction holds its lock on the table from before its first
// row until after its commit shows, so one that holds none now either shows in the
// next statement or has all its rows after now.
func (s *Store) horizon(ctx context.Context) (horizon, newest time.Time, err error) {
	err = s.pool.QueryRow(ctx, `
		with writers as (
			select coalesce(a.xact_start, now() - $2::interval) as since
			from pg_locks l left join pg_stat_activity a using (pid)
			where l.locktype = 'relation' and l.relation = 'footfall.events'::regclass
			and l.database = (select oid from pg_database where datname = current_database())
			and l.mode = 'RowExclusiveLock')
		select h, least(h, coalesce(
			(select committed_at from footfall.ledger order by id desc limit 1), h))
		from (select greatest(least(now(), (select min(since) from writers)),
			now() - $1::interval) as h) x`, lateMax, lateUnseen).Scan(&horizon, &newest)
	return horizon, newest, err
}

// The windows in which rows are looked for, one after the other until there are
// enough: the index finds a window, not an order, so what lies in it is sorted.
var windows = [...]time.Duration{2 * time.Second, time.Minute, time.Hour, 24 * time.Hour,
	30 * 24 * time.Hour}

func (s *Store) newest(ctx context.Context, anchor, horizon time.Time, limit int) ([]Row, error) {
	const order = "order by loaded_at desc, event_id desc limit $3"
	var rows []Row
	for i := range len(windows) + 1 {
		from := time.Time{}
		if i < len(windows) {
			from = anchor.Add(-windows[i])
		}
		var err error
		rows, err = s.read(ctx, "where loaded_at >= $1 and loaded_at < $2 "+order,
			from, horizon, limit)
		if err != nil {
			return nil, err
		}
		if len(rows) == limit {
			break
		}
	}
	slices.Reverse(rows)
	return rows, nil
}

func (s *Store) following(ctx context.Context, after time.Time, id event.UUID,
	horizon time.Time, limit int) ([]Row, error) {
	for i := range len(windows) + 1 {
		to := horizon
		if i < len(windows) && after.Add(windows[i]).Before(horizon) {
			to = after.Add(windows[i])
		}
		rows, err := s.read(ctx, `where loaded_at >= $1 and loaded_at < $2
			and (loaded_at, event_id) > ($1, $4) order by loaded_at, event_id limit $3`,
			after, to, limit, [16]byte(id))
		if err != nil || len(rows) == limit || to.Equal(horizon) {
			return rows, err
		}
	}
	return nil, nil
}

func (s *Store) read(ctx context.Context, where string, args ...any) ([]Row, error) {
	got, err := s.pool.Query(ctx, "select "+selection+", loaded_at from footfall.events "+where,
		args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(got, func(r pgx.CollectableRow) (Row, error) {
		var row Row
		err := r.Scan(append(targets(&row.Event), &row.LoadedAt)...)
		row.LoadedAt = row.LoadedAt.UTC()
		row.OccurredAt, row.ReceivedAt = row.OccurredAt.UTC(), row.ReceivedAt.UTC()
		return row, err
	})
}

// Find reports whether an event is stored, and when it was loaded.
func (s *Store) Find(ctx context.Context, id event.UUID, occurredAt time.Time) (
	found bool, loadedAt time.Time, err error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, `select loaded_at from footfall.events
		where occurred_at = $1 and event_id = $2`, occurredAt, [16]byte(id)).Scan(&loadedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, time.Time{}, nil
	case err != nil:
		return false, time.Time{}, fmt.Errorf("find event %s: %w", id, needs(err, roleReader))
	}
	return true, loadedAt.UTC(), nil
}
