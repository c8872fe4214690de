package postgres

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"footfall/sink/consume"
)

// action is what an error asks for.
type action string

const (
	again     action = "again"     // at once: a deadlock, a stale plan
	stage     action = "stage"     // not by COPY: a key is there, a trigger takes not all, a type is another
	isolate   action = "isolate"   // a row is bad: find it, keep it as a dead letter
	partition action = "partition" // a day has no partition: make it
	smaller   action = "smaller"   // it took too long: try half of it
	reconnect action = "reconnect" // the server or the way to it is away: soon
	wait      action = "wait"      // the server is in trouble: not so soon
	blocked   action = "blocked"   // rights or schema are wrong: a person has to act
	moved     action = "moved"     // another consumer was here: read positions again
)

var actions = [...]action{again, stage, isolate, partition, smaller, reconnect, wait, blocked,
	moved}

// Pauses before another attempt. The caller adds its own backoff and jitter.
const (
	pauseShort = 100 * time.Millisecond
	pauseLong  = 5 * time.Second
)

// Fault is an error of the database after which the same batch may be written
// again, once Pause is over.
type Fault struct {
	action action
	err    error
}

func (f *Fault) Error() string { return f.err.Error() }

func (f *Fault) Unwrap() error { return f.err }

// Pause is how long to wait at least. Trouble that a person has to end gets a long
// one, so that logs stay readable and a sick server is left in peace.
func (f *Fault) Pause() time.Duration {
	if f.action == wait || f.action == blocked {
		return pauseLong
	}
	return pauseShort
}

// policy maps SQLSTATEs, or their first characters, to what they ask for. The
// longest match counts.
var policy = map[string]action{
	"08": reconnect, // connection
	"57": reconnect, // operator: shutdown, crash, cannot connect now
	"25": reconnect, // read only: we are on the wrong server

	"53": wait, // out of disk, memory or connections
	"55": wait, // not in the right state
	"58": wait, // I/O
	"XX": wait, // internal, corrupt

	"40": again, // serialization, deadlock

	"55P03": smaller, // lock_timeout
	"57014": smaller, // statement_timeout, or cancelled by a person

	"22":    isolate, // data: bad text, number out of range
	"23":    isolate, // constraint
	"54":    isolate, // a limit, like the size of an index row
	"23505": stage,

	// From inside a trigger or a constraint's function of the operator's, which alone can
	// raise them when a row is stored.
	"02": isolate, // no data
	"09": isolate, // triggered action
	"20": isolate, // case not found
	"21": isolate, // cardinality
	"27": isolate, // triggered data change
	"2F": isolate, // SQL routine
	"38": isolate, // external routine
	"39": isolate, // call of one
	"44": isolate, // check option
	"P0": isolate, // raise, strict, assert

	"03": wait, // the rest of what PostgreSQL raises: nothing that a row does
	"0B": wait,
	"0F": wait,
	"0L": wait,
	"0P": wait,
	"0Z": wait,
	"24": wait,
	"26": wait, // no such prepared statement: a pooler
	"2B": wait,
	"2D": wait,
	"34": wait,
	"3B": wait,
	"72": wait,
	"F0": wait,
	"HV": wait,

	"28": blocked, // authorisation
	"3D": blocked, // no such database
	"3F": blocked, // no such schema
	"42": blocked, // no such column, no right
}

// classify says what an error of Write asks for. Nothing that may pass by itself
// or by an operator's hand is ever taken for a bad row. A code that PostgreSQL does not
// have is one that a trigger or a constraint's function raises: about a row.
func classify(err error) action {
	switch {
	case errors.Is(err, consume.ErrMoved):
		return moved
	case errors.Is(err, errLeftOut):
		return stage // which tells the rows that are left out from those that are there
	case errors.Is(err, errOtherType):
		return stage // from where the server converts
	case errors.Is(err, errOtherKey):
		return blocked
	case errors.Is(err, errSlow):
		return smaller
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return reconnect // network, timeout, closed
	}
	switch {
	case pg.Code == "57014" && strings.Contains(pg.Message, "COPY from stdin failed"):
		return isolate // the client could not encode a row
	case pg.Code == "0A000":
		return unsupported(pg)
	case pg.Code == "23514" && pg.ConstraintName == "" && pg.TableName != "":
		// "no partition of relation found for row": a trigger's raise names no table.
		if pg.SchemaName == "footfall" && strings.HasPrefix(pg.TableName, "events") {
			return partition
		}
		return blocked // of a table that a trigger writes into
	case len(pg.Code) != 5:
		return wait
	}
	for n := len(pg.Code); n >= 2; n-- {
		if a, ok := policy[pg.Code[:n]]; ok {
			return a
		}
	}
	return isolate
}

// unsupported tells by the place in the server's source what 0A000 is about.
func unsupported(pg *pgconn.PgError) action {
	switch pg.Routine {
	case "RevalidateCachedQuery":
		return again // "cached plan must not change result type"
	case "ExecBRInsertTriggers", "exec_stmt_raise":
		return isolate // a trigger moves the row to another day, or says so of it
	case "DoCopy":
		return stage // row level security, under which COPY takes nothing
	}
	return blocked // the statement: a rule on the table
}

// hasState reports whether an error is the server's with this SQLSTATE.
func hasState(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == code
}

// actionOf is classify, except that an error of something else than storing rows
// accuses no row, and that a wait for another's lock does not get shorter by
// writing less.
func actionOf(err error) action {
	act := classify(err)
	if _, ofRows := errors.AsType[*rowsError](err); ofRows {
		return act
	}
	switch act {
	case isolate, stage, partition:
		return wait
	case smaller:
		return reconnect
	}
	return act
}

// faultf wraps an error for the caller of the package. ErrMoved stays what it is.
func faultf(act action, err error, format string, args ...any) error {
	if act == moved {
		return consume.ErrMoved
	}
	return &Fault{act, fmt.Errorf(format+": %w", append(args, err)...)}
}

func (s *Store) faultf(err error, format string, args ...any) error {
	return faultf(s.act(err), err, format, args...)
}

// act is actionOf, counted. Where a new connection is asked for, the ones that idle are
// dropped too: they lead to the same server, which may have become a replica without
// ending them.
func (s *Store) act(err error) action {
	act := actionOf(err)
	s.meters.byAction[act].Inc()
	if classify(err) == reconnect {
		s.pool.Reset()
	}
	return act
}
