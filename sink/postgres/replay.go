package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/event"
	"footfall/sink/consume"
)

// Replay is a table of its own, with the columns, key and indexes of footfall.events and
// not partitioned, that takes records of the topic on the way of all records: the same
// ones end as the same rows. Records that cannot be stored go to another table of its own,
// of the form of footfall.dead_letters. It moves no position of a sink, and nothing that
// the audit compares.
//
// How far it has come is the table's comment, as JSON, which changes in the transaction of
// the rows. Its methods are safe for concurrent use, but writing does not go any faster so.
type Replay struct {
	store *Store
	name  string
	main  string // of the table, in SQL
	dead  string
}

// ReplayCounts are what became of the records that were written.
type ReplayCounts struct{ Inserted, Duplicate, Dead uint64 }

// DeadSuffix makes the name of a replay's dead letters out of that of its table.
const DeadSuffix = "_dead_letters"

var replayName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,49}$`)

// CheckReplayName says what is wrong with a name of a table for Replay: it is one word or
// two with a dot between them, and not in the schema footfall.
func CheckReplayName(name string) error {
	switch {
	case !replayName.MatchString(name):
		return fmt.Errorf("%q is not a name like events_again or scratch.events_again, in lower case and of at most 50 letters", name)
	case strings.HasPrefix(name, "footfall."):
		return errors.New("the schema footfall is the sink's own; take another, like public." + strings.TrimPrefix(name, "footfall."))
	}
	return nil
}

// mark is the comment of the table.
type mark struct {
	Of         string      `json:"replay_of"` // topic
	Cluster    string      `json:"cluster"`
	TopicID    string      `json:"topic_id"`
	Partitions []markRange `json:"partitions"`
}

// markRange says that [From, Next) of a partition is stored, and [Next, To) is not.
type markRange struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
	Next      int64 `json:"next"`
}

// CreateReplay makes the tables of a replay, which must not be there yet. The replay uses
// the store, and is over when that is closed.
func (s *Store) CreateReplay(ctx context.Context, name string, what *consume.Selection) (*Replay, error) {
	if err := CheckReplayName(name); err != nil {
		return nil, err
	}
	parts := strings.Split(name, ".")
	r := &Replay{store: s, name: name, main: pgx.Identifier(parts).Sanitize()}
	parts[len(parts)-1] += DeadSuffix
	r.dead = pgx.Identifier(parts).Sanitize()
	m := mark{Of: what.Topic, Cluster: what.ClusterID, TopicID: event.UUID(what.TopicID).String()}
	for _, x := range what.Ranges {
		m.Partitions = append(m.Partitions, markRange{x.Partition, x.From, x.To, x.From})
	}
	ctx, cancel := s.task(ctx)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"create table " + r.main + " (like footfall.events including all)",
			"create table " + r.dead + " (like footfall.dead_letters including all)",
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return r.comment(ctx, tx, m)
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case pg.Code == "42P07":
			return nil, fmt.Errorf("make table %s: one of its tables is there already, and a replay goes into a fresh one: "+
				"give another name, or first drop table if exists %[1]s, %[1]s%[2]s", name, DeadSuffix)
		case strings.Contains(pg.Message, `"footfall`): // the schema, or a table of it
			err = fmt.Errorf("%w: run footfall migrate first", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make table %s: %w", name, needs(err, roleOwner))
	}
	return r, nil
}

// Prepare is as that of Store. An error of what it returns that has no method Pause does
// not pass by itself.
func (r *Replay) Prepare(b consume.Batch) func(context.Context) error {
	w := r.store.prepare(b)
	w.place = r
	return func(ctx context.Context) error {
		err := r.store.writeWork(ctx, w)
		fault, _ := errors.AsType[*Fault](err)
		switch {
		case errors.Is(err, consume.ErrMoved):
			return fmt.Errorf("the comment of table %s does not say what was stored: somebody changed it, "+
				"or the database went back; drop the table and begin anew", r.name)
		case fault != nil && fault.action == blocked: // nobody waits for a person here
			return fault.err
		}
		return err
	}
}

// Counts tells what became of the records so far.
func (r *Replay) Counts() (c ReplayCounts) {
	m := r.store.meters
	c.Inserted, c.Duplicate = m.inserted.Get(), m.duplicate.Get()
	for _, n := range m.deadByCode {
		c.Dead += n.Get()
	}
	return c
}

func (r *Replay) table() string { return r.main }

func (r *Replay) ready(context.Context, *work, time.Time) error { return nil }

func (r *Replay) claim(ctx context.Context, tx pgx.Tx, w *work) error {
	if _, err := tx.Exec(ctx, r.store.limits.settings()); err != nil {
		return fmt.Errorf("move positions: %w", err)
	}
	// A transaction whose commit had no answer may still be at work.
	if _, err := tx.Exec(ctx, "lock table "+r.main+" in share update exclusive mode"); err != nil {
		return fmt.Errorf("move positions: %w", err)
	}
	m, err := r.mark(ctx, tx)
	if err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	for _, p := range w.Parts {
		if !m.move(p) {
			return consume.ErrMoved
		}
	}
	return r.comment(ctx, tx, m)
}

func (m *mark) move(p consume.Part) bool {
	for i := range m.Partitions {
		if x := &m.Partitions[i]; x.Partition == p.Partition && x.Next == p.From {
			x.Next = p.To
			return true
		}
	}
	return false
}

func (r *Replay) record(ctx context.Context, tx pgx.Tx, w *work) error {
	batch := &pgx.Batch{}
	queueDead(batch, w, r.dead)
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write dead letters: %w", err)
	}
	return nil
}

func (r *Replay) stored(ctx context.Context, _ *work) (map[int32]int64, error) {
	m, err := r.mark(ctx, r.store.pool)
	if err != nil {
		return nil, r.store.faultf(err, "read positions")
	}
	next := map[int32]int64{}
	for _, x := range m.Partitions {
		next[x.Partition] = x.Next
	}
	return next, nil
}

// mark reads the comment; a table without a readable one has a zero mark.
func (r *Replay) mark(ctx context.Context, q querier) (m mark, err error) {
	var text string
	err = q.QueryRow(ctx, "select coalesce(obj_description($1::text::regclass, 'pg_class'), '')", r.main).Scan(&text)
	if err == nil && json.Unmarshal([]byte(text), &m) != nil {
		m = mark{}
	}
	return m, err
}

func (r *Replay) comment(ctx context.Context, tx pgx.Tx, m mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write positions: %w", err)
	}
	quoted, err := tx.Conn().PgConn().EscapeString(string(text))
	if err != nil {
		return fmt.Errorf("write positions: %w", err)
	}
	// COMMENT takes no parameters.
	if _, err := tx.Exec(ctx, fmt.Sprintf("comment on table %s is '%s'", r.main, quoted), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("write positions: %w", err)
	}
	return nil
}
