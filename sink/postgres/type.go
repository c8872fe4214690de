package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// sqlType is the type whose binary form appendField writes: that of the field's column.
func sqlType(f *event.Field) string {
	switch f.At(&event.Event{}).(type) {
	case *event.UUID:
		return "uuid"
	case *event.Int:
		switch {
		case f.Max < 1<<15:
			return "smallint"
		case f.Max < 1<<31:
			return "integer"
		}
		return "bigint"
	case *event.Decimal:
		return "numeric"
	case *bool:
		return "boolean"
	case *time.Time:
		return "timestamp with time zone"
	case *[]string:
		return "text[]"
	case *event.JSON:
		return "jsonb"
	}
	if f.Name == "ip" {
		return "inet"
	}
	return "text"
}

// errOtherType is about a table whose columns an operator has given other types. COPY then
// takes our bytes for what they are not: some types refuse them, others make another value
// of them without a word.
var errOtherType = errors.New("a column has another type than the sink writes")

// checkTypes returns errOtherType unless each column has the type that we encode, one of the
// same binary form, or a domain upon such. The lock, which COPY takes anyway, keeps the
// types as they were found.
func checkTypes(ctx context.Context, tx pgx.Tx, table string) error {
	batch := &pgx.Batch{}
	batch.Queue("lock table only " + table + " in row exclusive mode")
	var fit bool
	batch.Queue(typesFit, table, fieldNames, fieldTypes).QueryRow(func(row pgx.Row) error { return row.Scan(&fit) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("look at columns: %w", err)
	}
	if !fit {
		return &rowsError{errOtherType, nil}
	}
	return nil
}

const typesFit = `with recursive have (name, type) as (
		select attname::text, atttypid from pg_attribute
		where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
		union all
		select name, typbasetype from have join pg_type t on t.oid = type where typtype = 'd')
	select not exists (select from unnest($2::text[], $3::text[]::regtype[]) want (name, type)
		where not exists (select from have where have.name = want.name and (have.type = want.type
			or exists (select from pg_cast
				where castsource = want.type and casttarget = have.type and castmethod = 'b'))))`

var fieldNames, fieldTypes = func() (names, types []string) {
	for i := range event.Fields {
		f := &event.Fields[i]
		names, types = append(names, f.Name), append(types, sqlType(f))
	}
	return names, types
}()
