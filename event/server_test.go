package event

import (
	"strings"
	"testing"
	"time"
)

func TestAServerSetsWhatABrowserMayNot(t *testing.T) {
	t.Parallel()
	var d Decoder
	const one = `{"site":"shop","ip":"192.0.2.7","user_agent":"curl/8","occurred_at":1700000000000,"visitor_id":"x"}`
	for _, body := range []string{one, "[" + one + "]", `{"site":"shop","events":[` + one + `]}`} {
		env, r := d.Server([]byte(body), false)
		if r != nil || len(env.Events) != 1 {
			t.Fatalf("%s: %v", body, r)
		}
		e := env.Events[0]
		if e.IP != "192.0.2.7" || e.UserAgent != "curl/8" || e.Site != "shop" || e.VisitorID != "" {
			t.Errorf("%s: %+v", body, e)
		}
	}
	env, r := d.Envelope([]byte(one))
	if r != nil || env.Events[0].IP != "" || env.Events[0].UserAgent != "" {
		t.Errorf("a browser set ip or user_agent: %v", r)
	}
}

func TestABadLineIsRefusedAlone(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Server([]byte("{\"name\":\"a\"}\n\nnot json\n{\"type\":\"nope\"}\r\n{\"name\":\"b\"}"), true)
	if r != nil {
		t.Fatal(r)
	}
	if len(env.Events) != 2 || env.Events[1].Name != "b" || env.Indexes[1] != 3 {
		t.Errorf("events %+v at %v", env.Events, env.Indexes)
	}
	if len(env.Refused) != 2 || env.Refused[0].Reason != BadEvent || env.Refused[0].Index != 1 ||
		env.Refused[1].Reason != UnknownType || env.Refused[1].Index != 2 {
		t.Errorf("refused %+v", env.Refused)
	}
	id := `{"event_id":"` + NewUUID(time.Now()).String() + `"}` + "\n"
	if env, _ := d.Server([]byte(id+id), true); len(env.Refused) != 1 || len(env.Events) != 1 {
		t.Errorf("the same id twice gives %+v", env)
	}
	for body, want := range map[string]Reason{"": NoEvents, " \n\n": NoEvents,
		strings.Repeat("{}\n", EventsMax+1): TooManyEvents} {
		if _, r := d.Server([]byte(body), true); r == nil || r.Reason != want {
			t.Errorf("%.10q: %v, want %s", body, r, want)
		}
	}
}

func TestAServersTimeIsBelievedAndItsIdStaysTheSame(t *testing.T) {
	t.Parallel()
	received := time.UnixMilli(1772627696789).UTC()
	month := received.AddDate(0, -1, 0)
	id := NewUUID(month)
	for name, e := range map[string]Event{
		"time":            {OccurredAt: month},
		"id":              {EventID: id},
		"id of version 4": {EventID: UUID{6: 0x40, 8: 0x80, 15: 9}, OccurredAt: month},
		"both":            {EventID: NewUUID(received), OccurredAt: month},
	} {
		e.trusted = true
		again := e
		e.Stamp(received, time.Time{})
		again.Stamp(received.Add(time.Hour), time.Time{})
		if !e.OccurredAt.Equal(month) || e.Clock != ClockClient || !e.EventID.Time().Equal(month) {
			t.Errorf("%s: occurred %s by the %s's clock", name, e.OccurredAt, e.Clock)
		}
		if name != "time" && e.EventID != again.EventID {
			t.Errorf("%s: sent again it is another event", name)
		}
	}
	e := Event{trusted: true}
	if e.Stamp(received, time.Time{}); e.Clock != ClockServer || !e.OccurredAt.Equal(received) {
		t.Errorf("without a time it occurred %s by the %s's clock", e.OccurredAt, e.Clock)
	}
}

func TestAServersTimeHasBounds(t *testing.T) {
	t.Parallel()
	received := time.UnixMilli(1772627696789).UTC()
	for d, good := range map[time.Duration]bool{-ClockImportMax: true, -ClockImportMax - 1: false,
		ClockSkewMax: true, ClockSkewMax + time.Millisecond: false} {
		e := Event{OccurredAt: received.Add(d)}
		if r := e.CheckTime(received); (r == nil) != good {
			t.Errorf("%s: %v", d, r)
		}
	}
	e := Event{EventID: NewUUID(received.AddDate(-3, 0, 0))}
	if e.CheckTime(received) == nil {
		t.Error("an id of three years ago is taken")
	}
	if (&Event{}).CheckTime(received) != nil {
		t.Error("no time at all is refused")
	}
}

func FuzzServer(f *testing.F) {
	f.Add([]byte(`[{"site":"shop","ip":"::1"}]`), false)
	f.Add([]byte("{}\n{\"type\":\"click\"}\n"), true)
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		var d Decoder
		env, r := d.Server(body, lines)
		if r == nil && len(env.Events)+len(env.Refused) == 0 {
			t.Errorf("%q is neither taken nor refused", body)
		}
	})
}
