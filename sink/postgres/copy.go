package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/event"
)

// rowsError is an error of storing rows, as opposed to one of the transaction
// around them: only such a one can be a row's fault.
type rowsError struct {
	err  error
	sent []*row // in the order of COPY's lines
}

func (e *rowsError) Error() string { return e.err.Error() }

func (e *rowsError) Unwrap() error { return e.err }

var copyLine = regexp.MustCompile(`COPY [^,\n]+, line (\d+)`)

// at returns the row that COPY was at, or nil when the server did not tell.
func (e *rowsError) at() *row {
	pg, ok := errors.AsType[*pgconn.PgError](e.err)
	if !ok {
		return nil
	}
	m := copyLine.FindStringSubmatch(pg.Where)
	if m == nil {
		return nil
	}
	line, err := strconv.Atoi(m[1])
	if err != nil || line < 1 || line > len(e.sent) {
		return nil
	}
	return e.sent[line-1]
}

const (
	copyDirect = "copy %s (%s) from stdin (format binary)"
	copyStage  = "copy pg_temp.footfall_stage (seq, %s) from stdin (format binary)"
)

// copyRows streams rows into the table.
func copyRows(ctx context.Context, tx pgx.Tx, table string, rows []*row) error {
	return send(ctx, tx, fmt.Sprintf(copyDirect, table, columns), &tuples{rows: rows})
}

// stageRows streams rows into the staging table, numbered. One that was used is emptied
// before.
func stageRows(ctx context.Context, tx pgx.Tx, rows []*row, used bool) error {
	if used {
		if _, err := tx.Exec(ctx, "truncate pg_temp.footfall_stage"); err != nil {
			return err
		}
	}
	return send(ctx, tx, fmt.Sprintf(copyStage, columns), &tuples{rows: rows, numbered: true})
}

func send(ctx context.Context, tx pgx.Tx, sql string, source *tuples) error {
	rows := source.rows
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, source, sql)
	if err != nil {
		return &rowsError{err, rows}
	}
	if n := tag.RowsAffected(); n != int64(len(rows)) {
		return &rowsError{fmt.Errorf("copy took %d of %d rows: %w", n, len(rows), errLeftOut), rows}
	}
	return nil
}

// createStage makes the staging table, of the types that we encode: not those of the
// table, which an operator may have narrowed or put a domain upon. So it takes whatever is
// well formed, and what else is wrong with a row shows when it enters the real table, where
// it can be found.
func createStage(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, stageSQL)
	return err
}

var stageSQL = func() string {
	list := []string{"seq integer"}
	for i, name := range fieldNames {
		list = append(list, name+" "+fieldTypes[i])
	}
	return "create temporary table footfall_stage (" + strings.Join(list, ", ") + ") on commit drop"
}()

// errOtherKey is about a trigger before the insert that gives rows another event_id or
// occurred_at: then nobody can say any more which events are stored.
var errOtherKey = errors.New("a trigger of the table changes event_id or occurred_at, by which rows are told apart: " +
	"take that out of it")

// unstage stores the staged rows of the numbers [from, to) that are not in the
// table yet, and returns the numbers of those. A temporary table is read in the order
// in which it was filled, so rows are stored in the order of live.
//
// The conflict names its key: a row that another unique index keeps out is stored
// nowhere, so it has to be an error and no duplicate. So does one that a trigger keeps
// out; filtered says that there are triggers that can, on whatever table.
func unstage(ctx context.Context, tx pgx.Tx, table string, from, to int) (inserted []int32, filtered bool, err error) {
	var n int
	err = tx.QueryRow(ctx, fmt.Sprintf(`with run as (
			select * from pg_temp.footfall_stage where seq >= $1 and seq < $2),
		fresh as (
			insert into %[2]s (%[1]s) select %[1]s from run
			on conflict (occurred_at, event_id) do nothing returning occurred_at, event_id)
		select (select count(*) from fresh), coalesce(array_agg(seq), '{}'), exists (select from pg_trigger
			where not tgisinternal and tgtype & %[3]d = %[3]d)
		from fresh join run using (occurred_at, event_id)`,
		columns, table, beforeInsertOfRow), from, to).Scan(&n, &inserted, &filtered)
	if err == nil && n != len(inserted) {
		err = errOtherKey
	}
	if err != nil {
		return nil, false, &rowsError{err, nil}
	}
	return inserted, filtered, nil
}

// beforeInsertOfRow are the bits of pg_trigger.tgtype for each row, before, and insert.
const beforeInsertOfRow = 1 | 2 | 4

// tuples reads as the byte stream of COPY BINARY. CopyFrom may go on reading for a
// moment after it has returned, so a tuples value is used once and its rows' bodies
// never change.
type tuples struct {
	rows     []*row
	numbered bool
	next     int    // row to send
	head     []byte // what is left to send before body
	body     []byte
	space    [10]byte // of head
	started  bool
	ended    bool
}

var copyHeader = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func (t *tuples) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(t.head) == 0 && len(t.body) == 0 && !t.advance() {
			break
		}
		k := copy(p[n:], t.head)
		t.head, n = t.head[k:], n+k
		if len(t.head) == 0 {
			k = copy(p[n:], t.body)
			t.body, n = t.body[k:], n+k
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// advance takes up the next piece: header, rows, trailer. It reports false at the
// end.
func (t *tuples) advance() bool {
	switch {
	case !t.started:
		t.started, t.head = true, copyHeader
	case t.next < len(t.rows):
		r := t.rows[t.next]
		fields, head := len(event.Fields), t.space[:0]
		if t.numbered {
			head = binary.BigEndian.AppendUint16(head, uint16(fields+1))
			head = binary.BigEndian.AppendUint32(appendLen(head, 4), uint32(t.next))
		} else {
			head = binary.BigEndian.AppendUint16(head, uint16(fields))
		}
		t.head, t.body = head, r.body
		t.next++
	case !t.ended:
		const trailer = 0xffff
		t.ended, t.head = true, binary.BigEndian.AppendUint16(t.space[:0], trailer)
	default:
		return false
	}
	return true
}
