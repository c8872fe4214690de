package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"footfall/event"
)

// selection is the list of columns that targets can take.
var selection = func() string {
	names := make([]string, len(event.Fields))
	for i := range event.Fields {
		name := event.Fields[i].Name
		switch name {
		case "ip":
			names[i] = "host(ip)"
		case "revenue", "props":
			names[i] = name + "::text"
		default:
			names[i] = name
		}
	}
	return strings.Join(names, ", ")
}()

// targets returns where a row's columns go, in the order of selection.
func targets(e *event.Event) []any {
	to := make([]any, len(event.Fields), len(event.Fields)+1)
	for i := range event.Fields {
		switch p := event.Fields[i].At(e).(type) {
		case *string:
			to[i] = text(func(s string) { *p = s })
		case *event.Type:
			to[i] = text(func(s string) { *p = event.Type(s) })
		case *event.Decimal:
			to[i] = text(func(s string) { *p = event.Decimal(s) })
		case *event.JSON:
			to[i] = text(func(s string) { *p = event.JSON(s) })
		case *event.UUID:
			to[i] = (*[16]byte)(p)
		case *event.Int:
			to[i] = (*integer)(p)
		case *bool, *time.Time, *[]string:
			to[i] = p
		}
	}
	return to
}

// text takes a text column; NULL leaves its target as it is.
type text func(string)

func (set text) ScanText(v pgtype.Text) error {
	if v.Valid {
		set(v.String)
	}
	return nil
}

// integer takes a smallint, integer or bigint column.
type integer event.Int

func (n *integer) ScanInt64(v pgtype.Int8) error {
	n.N, n.OK = v.Int64, v.Valid
	return nil
}
