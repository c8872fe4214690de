package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// The whole policy, line by line: what an error of storing rows asks for, and the pause
// after it.
var policyLines = []struct {
	code, message, constraint string
	want                      action
	pause                     time.Duration
}{
	{"08000", "connection exception", "", reconnect, pauseShort},
	{"08006", "connection failure", "", reconnect, pauseShort},
	{"57P01", "terminating connection due to administrator command", "", reconnect, pauseShort},
	{"57P02", "terminating connection because of crash of another server process", "", reconnect, pauseShort},
	{"57P03", "the database system is starting up", "", reconnect, pauseShort},
	{"57P05", "terminating connection due to idle-session timeout", "", reconnect, pauseShort},
	{"25006", "cannot execute COPY FROM in a read-only transaction", "", reconnect, pauseShort},
	{"25P03", "terminating connection due to idle-in-transaction timeout", "", reconnect, pauseShort},

	{"53000", "insufficient resources", "", wait, pauseLong},
	{"53100", "could not extend file: No space left on device", "", wait, pauseLong},
	{"53200", "out of memory", "", wait, pauseLong},
	{"53300", "sorry, too many clients already", "", wait, pauseLong},
	{"55000", "object not in prerequisite state", "", wait, pauseLong},
	{"58030", "could not read block: Input/output error", "", wait, pauseLong},
	{"58P01", "could not open file", "", wait, pauseLong},
	{"XX000", "internal error", "", wait, pauseLong},
	{"XX001", "invalid page in block", "", wait, pauseLong},
	{"XX002", "index corrupted", "", wait, pauseLong},

	{"40001", "could not serialize access", "", again, pauseShort},
	{"40P01", "deadlock detected", "", again, pauseShort},

	{"55P03", "canceling statement due to lock timeout", "", smaller, pauseShort},
	{"57014", "canceling statement due to statement timeout", "", smaller, pauseShort},
	{"57014", "canceling statement due to user request", "", smaller, pauseShort},
	{"57014", "COPY from stdin failed: unable to encode", "", isolate, pauseShort},

	{"22000", "data exception", "", isolate, pauseShort},
	{"22001", "value too long", "", isolate, pauseShort},
	{"22003", "value out of range", "", isolate, pauseShort},
	{"22008", "timestamp out of range", "", isolate, pauseShort},
	{"22021", "invalid byte sequence for encoding", "", isolate, pauseShort},
	{"22P02", "invalid input syntax", "", isolate, pauseShort},
	{"22P03", "incorrect binary data format", "", isolate, pauseShort},
	{"22P05", "unsupported Unicode escape sequence", "", isolate, pauseShort},
	{"23502", "null value in column", "", isolate, pauseShort},
	{"23503", "violates foreign key constraint", "", isolate, pauseShort},
	{"23514", "violates check constraint", "tidy", isolate, pauseShort},
	{"23514", "raised by a trigger", "", isolate, pauseShort},
	{"0A000", "INSERT with ON CONFLICT cannot be used with a table that has rules", "", blocked, pauseLong},
	{"23P01", "conflicting key value violates exclusion constraint", "", isolate, pauseShort},
	{"54000", "index row size exceeds maximum", "", isolate, pauseShort},
	{"54001", "stack depth limit exceeded", "", isolate, pauseShort},
	{"02000", "no data", "", isolate, pauseShort},
	{"09000", "triggered action exception", "", isolate, pauseShort},
	{"20000", "case not found", "", isolate, pauseShort},
	{"21000", "more than one row returned by a subquery", "", isolate, pauseShort},
	{"27000", "triggered data change violation", "", isolate, pauseShort},
	{"2F005", "function executed no return statement", "", isolate, pauseShort},
	{"38001", "containing sql not permitted", "", isolate, pauseShort},
	{"39004", "null value not allowed", "", isolate, pauseShort},
	{"44000", "violates check option", "", isolate, pauseShort},
	{"P0001", "raised by a trigger", "", isolate, pauseShort},
	{"P0004", "assertion failed", "", isolate, pauseShort},
	{"45000", "a trigger's own code", "", isolate, pauseShort},
	{"99999", "another one", "", isolate, pauseShort},
	{"SHOP1", "another one", "", isolate, pauseShort},

	{"23505", "duplicate key value", "events_pkey", stage, pauseShort},

	{"28000", "no pg_hba.conf entry", "", blocked, pauseLong},
	{"28P01", "password authentication failed", "", blocked, pauseLong},
	{"3D000", "database does not exist", "", blocked, pauseLong},
	{"3F000", "schema does not exist", "", blocked, pauseLong},
	{"42501", "permission denied for table", "", blocked, pauseLong},
	{"42703", "column does not exist", "", blocked, pauseLong},
	{"42P01", "relation does not exist", "", blocked, pauseLong},

	{"03000", "sql statement not yet complete", "", wait, pauseLong},
	{"0B000", "invalid transaction initiation", "", wait, pauseLong},
	{"0F001", "invalid locator specification", "", wait, pauseLong},
	{"0LP01", "invalid grant operation", "", wait, pauseLong},
	{"0P000", "invalid role specification", "", wait, pauseLong},
	{"0Z002", "stacked diagnostics accessed without active handler", "", wait, pauseLong},
	{"24000", "invalid cursor state", "", wait, pauseLong},
	{"26000", "prepared statement does not exist", "", wait, pauseLong},
	{"2BP01", "dependent objects still exist", "", wait, pauseLong},
	{"2D000", "invalid transaction termination", "", wait, pauseLong},
	{"34000", "invalid cursor name", "", wait, pauseLong},
	{"3B001", "savepoint does not exist", "", wait, pauseLong},
	{"72000", "snapshot too old", "", wait, pauseLong},
	{"F0000", "configuration file error", "", wait, pauseLong},
	{"HV000", "fdw error", "", wait, pauseLong},
	{"", "", "", wait, pauseLong},
}

func TestEveryKindOfErrorHasItsAction(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, l := range policyLines {
		pg := &pgconn.PgError{Code: l.code, Message: l.message, ConstraintName: l.constraint}
		got := classify(fmt.Errorf("x: %w", pg))
		if pause := (&Fault{action: got}).Pause(); got != l.want || pause != l.pause {
			t.Errorf("%s %s asks for %s after %v, want %s after %v", l.code, l.message, got, pause, l.want,
				l.pause)
		}
		for n := 2; n <= len(l.code); n++ {
			covered[l.code[:n]] = true
		}
	}
	for code := range policy {
		if !covered[code] {
			t.Errorf("no line is about %s", code)
		}
	}
	for _, c := range []struct {
		err  error
		want action
	}{
		{io.ErrUnexpectedEOF, reconnect},
		{context.DeadlineExceeded, reconnect},
		{errors.New("anything"), reconnect},
		{fmt.Errorf("x: %w", consume.ErrMoved), moved},
		{&pgconn.PgError{Code: "23514", Message: "no partition of relation found for row", SchemaName: "footfall", TableName: "events"}, partition},
		{&pgconn.PgError{Code: "23514", Message: "no partition of relation found for row", SchemaName: "public", TableName: "events"}, blocked},
		{&pgconn.PgError{Code: "0A000", Routine: "ExecBRInsertTriggers"}, isolate},
		{&pgconn.PgError{Code: "0A000", Message: "cached plan must not change result type", Routine: "RevalidateCachedQuery"}, again},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v asks for %s, want %s", c.err, got, c.want)
		}
	}
}

// The same, raised by a real server while it stores one of three rows: a bad row is a
// dead letter and the others are stored; for all else nothing is stored for good beyond
// the rows before it, and the batch waits with the right pause.
func TestTheServersErrorsEndAsThePolicySays(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	pgtest.Exec(t, url, `create function footfall.f() returns trigger language plpgsql as $$ begin
		if new.title is not null then
			raise exception using errcode = new.title, message = new.name,
				constraint = coalesce(new.user_id, '');
		end if; return new; end $$;
		create trigger f before insert on footfall.events for each row execute function footfall.f()`,
		pgx.QueryExecModeSimpleProtocol)
	p := int32(0)
	for _, l := range policyLines {
		if l.code == "" || l.code == "0A000" { // which is the row's when a trigger raises it
			continue
		}
		own(t, s, p)
		list := events(3, today())
		list[1].Title, list[1].Name, list[1].UserID = l.code, l.message, l.constraint
		err := s.Write(t.Context(), batch(part(p, 0, encoded(list...)...)))
		fault, faulty := errors.AsType[*Fault](err)
		letters := pgtest.Get[int](t, url, `select count(*) from footfall.dead_letters
			where partition = $1 and sqlstate = $2 and record_offset = 1`, p, l.code)
		switch {
		case l.want == isolate || l.want == stage:
			if err != nil || letters != 1 {
				t.Errorf("%s %s: %v, %d dead letters, want one", l.code, l.message, err, letters)
			}
		case !faulty || fault.Pause() != l.pause || letters != 0:
			t.Errorf("%s %s: %v with pause %v, %d dead letters, want a fault with %v", l.code, l.message, err,
				fault.Pause(), letters, l.pause)
		}
		p++
	}
	if n := pgtest.Get[int](t, url, `select count(*) from footfall.dead_letters`); n == 0 {
		t.Error("no dead letters at all")
	}
}

func TestOnlyAnErrorOfStoringRowsAccusesARow(t *testing.T) {
	t.Parallel()
	pg := &pgconn.PgError{Code: "22003"}
	if got := actionOf(fmt.Errorf("write ledger: %w", pg)); got != wait {
		t.Errorf("an error of the ledger asks for %s", got)
	}
	late := &pgconn.PgError{Code: "55P03"}
	if got := actionOf(fmt.Errorf("move positions: %w", late)); got != reconnect {
		t.Errorf("waiting for the position asks for %s", got)
	}
	if got := actionOf(&rowsError{err: late}); got != smaller {
		t.Errorf("waiting in COPY asks for %s", got)
	}
	if got := actionOf(&rowsError{err: pg}); got != isolate {
		t.Errorf("an error of COPY asks for %s", got)
	}
}

func TestTheLineOfCopyNamesTheRow(t *testing.T) {
	t.Parallel()
	rows := []*row{{part: 0}, {part: 1}, {part: 2}}
	for where, want := range map[string]*row{
		"COPY events, line 2":                                        rows[1],
		"COPY events, line 3, column title":                          rows[2],
		"PL/pgSQL function f() line 9 at RAISE\nCOPY events, line 1": rows[0],
		"COPY events, line 4":                                        nil,
		"COPY events, line 0":                                        nil,
		"":                                                           nil,
	} {
		e := &rowsError{&pgconn.PgError{Where: where}, rows}
		if got := e.at(); got != want {
			t.Errorf("%q names %v", where, got)
		}
	}
}
