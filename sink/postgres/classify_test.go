package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"footfall/sink/consume"
)

func TestEveryKindOfErrorHasItsAction(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]action{
		"08006": reconnect, "57P01": reconnect, "57P02": reconnect, "57P03": reconnect,
		"25006": reconnect, "25P03": reconnect,
		"53100": wait, "53300": wait, "58030": wait, "XX000": wait, "XX001": wait, "55000": wait,
		"40001": again, "40P01": again, "0A000": again,
		"55P03": smaller, "57014": smaller,
		"22021": isolate, "22P05": isolate, "22P02": isolate, "22003": isolate, "22001": isolate,
		"23502": isolate, "23503": isolate, "54000": isolate, "54001": isolate, "P0001": isolate,
		"23505": stage,
		"28P01": blocked, "3D000": blocked, "42P01": blocked, "42501": blocked, "42703": blocked,
		"99999": wait, "": wait,
	} {
		if got := classify(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s asks for %s, want %s", code, got, want)
		}
	}
	for _, c := range []struct {
		err  error
		want action
	}{
		{&pgconn.PgError{Code: "57014", Message: "COPY from stdin failed: unable to encode"}, isolate},
		{&pgconn.PgError{Code: "23514", Message: "no partition of relation"}, partition},
		{&pgconn.PgError{Code: "23514", ConstraintName: "tidy"}, isolate},
		{io.ErrUnexpectedEOF, reconnect},
		{context.DeadlineExceeded, reconnect},
		{errors.New("anything"), reconnect},
		{fmt.Errorf("x: %w", consume.ErrMoved), moved},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v asks for %s, want %s", c.err, got, c.want)
		}
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
