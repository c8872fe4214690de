package sink

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/event"
	"footfall/sink/mongo"
)

// memorySide is a store in memory; reads counts its reads of entries.
type memorySide struct {
	mu      sync.Mutex
	entries []entry
	at      int64
	reads   int
	before  func(s *memorySide) // called under mu before a read
}

func (s *memorySide) each(_ context.Context, from, to time.Time, fn func(entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.before != nil {
		s.before(s)
	}
	for _, e := range s.entries {
		if at := e.id.Time(); !at.Before(from) && at.Before(to) {
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *memorySide) next(context.Context) (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]int64{"c/t/0": s.at}, nil
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// someEntries returns ten events a minute.
func someEntries(minutes int) (list []entry) {
	for i := range 10 * minutes {
		at := noon.Add(time.Duration(i) * 6 * time.Second)
		list = append(list, entry{event.NewUUID(at), at, mongo.Digest{byte(i), 1}})
	}
	return list
}

func compareSides(t *testing.T, rows, documents *memorySide) *Comparison {
	t.Helper()
	c := &comparer{Comparison: &Comparison{From: noon, To: noon.Add(time.Hour)},
		rows: rows, documents: documents, wait: compareWait}
	if err := c.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.Comparison
}

func TestStoresThatHoldTheSameDoNotDiffer(t *testing.T) {
	rows := &memorySide{entries: someEntries(5)}
	documents := &memorySide{entries: slices.Clone(rows.entries)}
	slices.Reverse(documents.entries)
	c := compareSides(t, rows, documents)
	if len(c.Differ) > 0 || c.Rows != 50 || c.Documents != 50 || c.Minutes != 5 {
		t.Errorf("%+v", c)
	}
	if rows.reads != 1 {
		t.Errorf("%d reads, want 1", rows.reads)
	}
}

func TestEventsByWhichStoresDifferAreNamed(t *testing.T) {
	rows := &memorySide{entries: someEntries(5)}
	documents := &memorySide{entries: slices.Clone(rows.entries)}
	altered, again := &documents.entries[1], &documents.entries[2]
	altered.content[0]++
	again.content[0]++
	again.received = again.received.Add(time.Second)
	foreign := entry{event.NewUUID(noon.Add(70 * time.Second)), noon, mongo.Digest{}}
	missing := documents.entries[42].id
	documents.entries = append(slices.Delete(documents.entries, 42, 43), foreign)
	c := compareSides(t, rows, documents)
	if len(c.Differ) != 3 || c.OtherArrivals != 1 || c.Behind != 0 {
		t.Fatalf("%+v", c)
	}
	for i, want := range []struct {
		minute int
		got    Events
		id     event.UUID
	}{{0, c.Differ[0].Different, documents.entries[1].id}, {1, c.Differ[1].OnlyMongo, foreign.id},
		{4, c.Differ[2].OnlyPostgres, missing}} {
		at := noon.Add(time.Duration(want.minute) * time.Minute)
		if !c.Differ[i].Start.Equal(at) || want.got.N != 1 || want.got.IDs[0] != want.id {
			t.Errorf("minute %d is %+v, want %s", i, c.Differ[i], want.id)
		}
	}
	if n := c.Differ[2]; n.Rows != 10 || n.Documents != 9 || n.Different.N+n.OnlyMongo.N > 0 {
		t.Errorf("%+v", n)
	}
}

func TestAMinuteThatIsOnlyInOneStoreDiffers(t *testing.T) {
	rows, documents := &memorySide{entries: someEntries(2)}, &memorySide{}
	c := compareSides(t, rows, documents)
	if len(c.Differ) != 2 || c.Differ[1].OnlyPostgres.N != 10 || len(c.Differ[1].OnlyPostgres.IDs) != compareIDs {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsOnItsWayIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &memorySide{entries: someEntries(3), at: 30}
		documents := &memorySide{entries: rows.entries[:25:25], at: 25}
		go func() { // the slower sink goes on while the other one waits
			time.Sleep(5 * time.Second)
			documents.mu.Lock()
			defer documents.mu.Unlock()
			documents.entries, documents.at = slices.Clone(rows.entries), 30
		}()
		rows.before = func(s *memorySide) {
			if s.reads == 3 { // the look after the wait: a new event, not yet in the other
				late := entry{event.NewUUID(noon.Add(150 * time.Second)), noon, mongo.Digest{}}
				s.entries, s.at = append(slices.Clone(s.entries), late), 31
			}
		}
		c := compareSides(t, rows, documents)
		if c.Behind != 0 || len(c.Differ) > 0 {
			t.Errorf("%+v", c)
		}
		if rows.reads != 3 {
			t.Errorf("%d reads, want 3", rows.reads)
		}
	})
}

func TestAStoreThatStaysBehindIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &memorySide{entries: someEntries(3), at: 30}
		documents := &memorySide{entries: rows.entries[:25:25], at: 25}
		began := time.Now()
		c := compareSides(t, rows, documents)
		if c.Behind != 5 || len(c.Differ) != 1 || c.Differ[0].OnlyPostgres.N != 5 {
			t.Errorf("%+v", c)
		}
		if d := time.Since(began); d < compareWait || d > compareWait+time.Second {
			t.Errorf("it waited %s", d)
		}
	})
}

func TestMinutesBeyondThoseLookedIntoAreTold(t *testing.T) {
	rows, documents := &memorySide{entries: someEntries(60)}, &memorySide{}
	for i := range 60 {
		rows.entries = append(rows.entries, entry{event.NewUUID(noon.Add(time.Duration(60+i) * time.Minute)), noon, mongo.Digest{}})
	}
	c := &comparer{Comparison: &Comparison{From: noon, To: noon.Add(2 * time.Hour)}, rows: rows, documents: documents}
	if err := c.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.Differ) != 120 || c.Differ[119].Rows != 1 || c.Differ[119].OnlyPostgres.N != 0 {
		t.Errorf("%d minutes, last %+v", len(c.Differ), c.Differ[len(c.Differ)-1])
	}
}
