package postgres

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

func TestTheTableHasTheColumnsOfTheEvent(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	type column struct {
		Name, Type string
		Required   bool
	}
	rows, err := c.Query(t.Context(), `select attname, format_type(atttypid, atttypmod), attnotnull
		from pg_attribute where attrelid = 'footfall.events'::regclass and attnum > 0
		and not attisdropped order by attnum`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	var want []column
	for i := range event.Fields {
		f := &event.Fields[i]
		want = append(want, column{f.Name, sqlType(f), f.Required})
	}
	// The database's own column; fields that came later stand behind it.
	loaded := column{"loaded_at", "timestamp with time zone", true}
	if !slices.Contains(got, loaded) {
		t.Errorf("there is no %v", loaded)
	}
	got = slices.DeleteFunc(got, func(c column) bool { return c == loaded })
	if !reflect.DeepEqual(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Errorf("column %d differs: got %v, want %v", i, got[min(i, len(got)-1)],
					want[min(i, len(want)-1)])
			}
		}
	}
}

// golden has a value in every field; each text says which field it is in.
func golden() *event.Event {
	e := at(today())
	for i := range event.Fields {
		f := &event.Fields[i]
		switch p := f.At(e).(type) {
		case *string:
			*p = (f.Name + " ä\U0001F600 \"\\\t")[:min(len(f.Name)+3, max(f.Max, 1))]
		case *event.Int:
			*p = event.Some(int64(f.Max) - int64(i))
		case *bool:
			*p = true
		case *[]string:
			*p = []string{"no_js", `a "quoted", {odd} one`}
		}
	}
	e.Schema, e.ScrollPct = event.Some(1), event.Some(100)
	e.Country, e.Currency, e.Clock, e.Transport = "DE", "EUR", "client", "beacon"
	e.IP, e.Revenue = "2001:db8::1", "-1234567.080000"
	e.Props = event.JSON(`{"plan": "pro", "deep": {"n": [1, 2.5, null]}, "price": 12.50}`)
	return e
}

func TestAnEventComesBackFromTheTableAsItWasSent(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	want, bare := golden(), at(today().Add(time.Second))
	before := time.Now().Add(-time.Second)
	write(t, s, part(0, 0, encoded(want, bare)...))
	rows, _, err := s.Recent(t.Context(), "", 10)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	for i, want := range []*event.Event{want, bare} {
		got := rows[i].Event
		// jsonb has its own spelling; the text above is in it but for the order of keys.
		if len(want.Props) != len(got.Props) {
			t.Errorf("props are %s, want %s", got.Props, want.Props)
		}
		got.Props = want.Props
		if !reflect.DeepEqual(&got, want) {
			t.Errorf("row differs:\ngot  %+v\nwant %+v", &got, want)
		}
		if rows[i].LoadedAt.Before(before) || rows[i].LoadedAt.After(time.Now().Add(time.Second)) {
			t.Errorf("loaded_at is %v", rows[i].LoadedAt)
		}
	}
	n := pgtest.Get[int](t, url, `select num_nulls(`+columns+`) from footfall.events
		order by occurred_at desc limit 1`)
	if unset := len(event.Fields) - 12; n != unset {
		t.Errorf("the bare event has %d nulls, want %d", n, unset)
	}
	found, loaded, err := s.Find(t.Context(), bare.EventID, bare.OccurredAt)
	if !found || err != nil || !loaded.Equal(rows[1].LoadedAt) {
		t.Errorf("found %v, loaded %v, error %v", found, loaded, err)
	}
	if found, _, err := s.Find(t.Context(), event.NewUUID(today()), today()); found || err != nil {
		t.Errorf("found an event that was never sent: %v, %v", found, err)
	}
}

func TestNumbersAndAddressesHaveTheirBinaryForm(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	decimals := []event.Decimal{"0", "0.00", "-0.000001", "1", "9999", "10000", "10000.0001",
		"999999999999999.999999", "-120000000", "0.10", "12.5", "100000000.5"}
	addresses := []string{"192.0.2.7", "::1", "2001:db8::ff", "::ffff:192.0.2.1", "fe80::1%eth0"}
	list := events(len(decimals)+len(addresses), today())
	for i, d := range decimals {
		list[i].Revenue = d
	}
	for i, a := range addresses {
		list[len(decimals)+i].IP = a
	}
	write(t, s, part(0, 0, encoded(list...)...))
	for i, e := range list {
		got := pgtest.Get[string](t, url, `select concat(revenue, host(ip)) from footfall.events
			where event_id = $1`, [16]byte(e.EventID))
		want := string(e.Revenue)
		if i >= len(decimals) {
			want = netip.MustParseAddr(e.IP).WithZone("").String()
		}
		if got != want {
			t.Errorf("stored %q, want %q", got, want)
		}
		same := fmt.Sprintf("select count(*) from footfall.events where event_id = $1 and %s = $2",
			map[bool]string{true: "revenue::text", false: "host(ip)"}[i < len(decimals)])
		if n := pgtest.Get[int](t, url, same, [16]byte(e.EventID), want); n != 1 {
			t.Errorf("%q does not compare equal", want)
		}
	}
}
