package event

import (
	"slices"
	"testing"
	"time"
)

var received = time.Date(2026, 3, 4, 12, 34, 56, 789e6, time.UTC)

func TestStampBelievesAClockWithinItsBoundsOnly(t *testing.T) {
	t.Parallel()
	v4, _ := ParseUUID("11111111-2222-4333-8444-555555555555")
	at := func(d time.Duration) UUID { return NewUUID(received.Add(d)) }
	hour := received.Truncate(time.Hour)
	for _, c := range []struct {
		name       string
		id         UUID
		occurred   time.Time
		sent       time.Time
		wantClock  string
		wantTime   time.Time
		randomKept bool
	}{
		{"good", at(-time.Second), time.Time{}, received, ClockClient, received.Add(-time.Second), true},
		{"10 minutes slow", at(0), time.Time{}, received.Add(-10 * time.Minute), ClockClient, received,
			true},
		{"10 minutes fast", at(10 * time.Minute), time.Time{}, received.Add(10 * time.Minute),
			ClockClient, received.Add(10 * time.Minute), true},
		{"too slow", at(0), time.Time{}, received.Add(-10*time.Minute - time.Millisecond), ClockServer,
			hour, true},
		{"too fast", at(0), time.Time{}, received.Add(10*time.Minute + time.Millisecond), ClockServer,
			hour, true},
		{"two days old", at(-48 * time.Hour), time.Time{}, received, ClockClient,
			received.Add(-48 * time.Hour), true},
		{"too old", at(-48*time.Hour - time.Millisecond), time.Time{}, received, ClockServer, hour, true},
		{"id from the future", at(10*time.Minute + time.Millisecond), time.Time{}, received, ClockServer,
			hour, true},
		{"sender said no time", at(0), time.Time{}, time.Time{}, ClockServer, hour, true},
		{"version 4", v4, time.Time{}, received, ClockServer, hour, true},
		{"year 1970", at(0), time.Time{}, time.UnixMilli(0), ClockServer, hour, true},
		{"no id", UUID{}, time.Time{}, received, ClockServer, received, false},
		{"no id, a time", UUID{}, received.Add(-time.Hour), received, ClockClient,
			received.Add(-time.Hour), false},
		{"no id, an absurd time", UUID{}, received.Add(-time.Hour * 1e5), received, ClockServer, received,
			false},
		{"no id, a time, no sent_at", UUID{}, received, time.Time{}, ClockServer, received, false},
		{"another time beside the id", at(0), received.Add(-time.Hour), received, ClockClient, received,
			true},
	} {
		e := Event{EventID: c.id, OccurredAt: c.occurred}
		e.Stamp(received, c.sent)
		if e.Clock != c.wantClock || !e.OccurredAt.Equal(c.wantTime) {
			t.Errorf("%s: %s at %v, want %s at %v", c.name, e.Clock, e.OccurredAt, c.wantClock, c.wantTime)
		}
		if !e.EventID.IsV7() || !e.EventID.Time().Equal(e.OccurredAt) || !e.ReceivedAt.Equal(received) {
			t.Errorf("%s: id %v, occurred %v, received %v do not fit", c.name, e.EventID, e.OccurredAt,
				e.ReceivedAt)
		}
		if c.randomKept && !slices.Equal(e.EventID[9:], c.id[9:]) {
			t.Errorf("%s: the sender's random bits are lost: %v of %v", c.name, e.EventID, c.id)
		}
	}
}

func TestAResendIsTheSameRow(t *testing.T) {
	t.Parallel()
	for _, sent := range []time.Time{received, {}} {
		first := Event{EventID: NewUUID(received)}
		again := first
		first.Stamp(received, sent)
		again.Stamp(received.Add(5*time.Minute), sent)
		if first.EventID != again.EventID || !first.OccurredAt.Equal(again.OccurredAt) {
			t.Errorf("sent %v: the second is %v, the first %v", sent, again.EventID, first.EventID)
		}
	}
}

func TestUUIDHasOneTextForm(t *testing.T) {
	t.Parallel()
	const text = "019ac000-1234-7abc-8def-0123456789ab"
	for _, s := range []string{text, "019AC000-1234-7ABC-8DEF-0123456789AB",
		"019ac00012347abc8def0123456789ab"} {
		u, err := ParseUUID(s)
		if err != nil || u.String() != text {
			t.Errorf("%s: got %s, %v", s, u, err)
		}
	}
	for _, s := range []string{"", "019ac0001234-7abc-8def-0123456789ab", text + "0", "{" + text + "}",
		"019ac000-1234-7abc-8def-0123456789ag", "019ac000-1234-7abc-8def-0123456789-b",
		"019ac000-12347abc8def-0123456789a", "019ac00012347abc8def0123456789ag",
		"019ac000 1234 7abc 8def 0123456789ab", "+19ac000-1234-7abc-8def-0123456789ab"} {
		if u, err := ParseUUID(s); err == nil || !u.IsZero() {
			t.Errorf("%q was read as %v", s, u)
		}
	}
}

func TestUUIDsSortByTimeAndNeverRepeat(t *testing.T) {
	t.Parallel()
	seen := map[UUID]bool{}
	before := NewUUID(received.Add(-time.Millisecond)).String()
	for range 10_000 {
		u := NewUUID(received)
		if seen[u] || u.String() <= before || !u.IsV7() || !u.Time().Equal(received) {
			t.Fatalf("bad id %v", u)
		}
		seen[u] = true
	}
}
