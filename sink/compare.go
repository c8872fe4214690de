package sink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/event"
	"footfall/sink/mongo"
	"footfall/sink/postgres"
)

// Bounds of a comparison.
const (
	compareSpan = 24 * time.Hour   // unless told otherwise
	compareWait = 30 * time.Second // for a store that is behind
	compareLook = 100              // minutes that are looked into, of those that differ
	compareIDs  = 5                // ids told of each kind and minute
)

// Comparison is what two stores hold of the events of some time.
type Comparison struct {
	From time.Time `json:"from"` // of occurred_at, whole minutes
	To   time.Time `json:"to"`
	// Began is when MongoDB was first written: what was received before that is not
	// compared.
	Began     time.Time `json:"began"`
	Rows      int64     `json:"rows"`
	Documents int64     `json:"documents"`
	Minutes   int       `json:"minutes"` // that have events
	Differ    []Minute  `json:"differ"`  // in order
	// OtherArrivals are events that came twice, of which each store keeps another
	// arrival: the content differs, and so does received_at. That is no fault: stores
	// keep what they see first, and see partitions in their own order.
	OtherArrivals int64 `json:"other_arrivals"`
	// Behind is how many records one store's positions are short of the other's, after
	// a wait. Then what differs may be on its way.
	Behind int64 `json:"behind"`
}

// Minute is one minute of occurred_at in which the stores differ.
type Minute struct {
	Start        time.Time `json:"start"`
	Rows         int64     `json:"rows"`
	Documents    int64     `json:"documents"`
	OnlyPostgres Events    `json:"only_postgres"`
	OnlyMongo    Events    `json:"only_mongo"`
	Different    Events    `json:"different"` // the same event with other content
}

// Events are some that are alike: how many, and the ids of the first few.
type Events struct {
	N   int64        `json:"n"`
	IDs []event.UUID `json:"ids,omitempty"`
}

// Compare compares both stores, minute by minute of occurred_at from since (zero: a day
// ago) to the last whole minute: the number of events, the sum of hashes of their ids,
// and that of their contents. It looks into minutes that differ, and passes over what
// is only on its way: an event counts as missing when it is still not there after the
// store has read everything that the other one had read.
func Compare(ctx context.Context, pg *postgres.Store, mg *mongo.Store, since time.Time) (*Comparison, error) {
	_, began, err := mg.Next(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Minute)
	if since.IsZero() {
		since = now.Add(-compareSpan)
	}
	c := &comparer{
		Comparison: &Comparison{From: since.UTC().Truncate(time.Minute), To: now, Began: began, Differ: []Minute{}},
		rows:       &pgSide{pg, began}, documents: &mongoSide{mg, began}, wait: compareWait}
	if err := c.compare(ctx); err != nil {
		return nil, fmt.Errorf("compare stores: %w", err)
	}
	return c.Comparison, nil
}

// entry is what one store holds of an event.
type entry struct {
	id       event.UUID
	received time.Time
	content  mongo.Digest
}

// side is one of two stores that are compared.
type side interface {
	each(ctx context.Context, from, to time.Time, fn func(entry) error) error
	next(ctx context.Context) (map[string]int64, error)
}

type pgSide struct {
	*postgres.Store
	began time.Time
}

func (s *pgSide) each(ctx context.Context, from, to time.Time, fn func(entry) error) error {
	var d mongo.Digester
	return s.Each(ctx, from, to, func(e *event.Event) error {
		if e.ReceivedAt.Before(s.began) {
			return nil
		}
		content, err := d.Event(e)
		if err != nil {
			return fmt.Errorf("event %s: %w", e.EventID, err)
		}
		return fn(entry{e.EventID, e.ReceivedAt, content})
	})
}

func (s *pgSide) next(ctx context.Context) (map[string]int64, error) { return s.Next(ctx) }

type mongoSide struct {
	*mongo.Store
	began time.Time
}

func (s *mongoSide) each(ctx context.Context, from, to time.Time, fn func(entry) error) error {
	return s.Each(ctx, from, to, func(id event.UUID, received time.Time, content mongo.Digest) error {
		if received.Before(s.began) {
			return nil
		}
		return fn(entry{id, received, content})
	})
}

func (s *mongoSide) next(ctx context.Context) (map[string]int64, error) {
	next, _, err := s.Next(ctx)
	return next, err
}

type comparer struct {
	*Comparison
	rows, documents side
	wait            time.Duration
}

// sum is one minute of one store. Sums of hashes do not depend on an order.
type sum struct {
	n            int64
	ids, content [2]uint64
}

func (s *sum) add(e entry) {
	s.n++
	for i := range 2 {
		s.ids[i] += binary.BigEndian.Uint64(e.id[8*i:])
		s.content[i] += binary.BigEndian.Uint64(e.content[8*i:])
	}
}

// sums reads one store. Memory grows with the minutes, not with the events.
func sums(ctx context.Context, s side, from, to time.Time) (map[int64]sum, error) {
	m := map[int64]sum{}
	err := s.each(ctx, from, to, func(e entry) error {
		minute := e.id.Time().Unix() / 60
		at := m[minute]
		at.add(e)
		m[minute] = at
		return nil
	})
	return m, err
}

// both runs two reads side by side.
func both[T any](read func(side) (T, error), rows, documents side) (x, y T, err error) {
	var errs [2]error
	done := make(chan struct{})
	go func() {
		defer close(done)
		y, errs[1] = read(documents)
	}()
	x, errs[0] = read(rows)
	<-done
	return x, y, errors.Join(errs[:]...)
}

func (c *comparer) compare(ctx context.Context) error {
	rows, documents, err := both(func(s side) (map[int64]sum, error) { return sums(ctx, s, c.From, c.To) },
		c.rows, c.documents)
	if err != nil {
		return err
	}
	all := maps.Clone(rows)
	maps.Copy(all, documents)
	c.Minutes = len(all)
	var differ []int64
	for _, minute := range slices.Sorted(maps.Keys(all)) {
		c.Rows += rows[minute].n
		c.Documents += documents[minute].n
		if rows[minute] != documents[minute] {
			differ = append(differ, minute)
		}
	}
	looked, rest := differ[:min(len(differ), compareLook)], differ[min(len(differ), compareLook):]
	if err := c.look(ctx, looked); err != nil {
		return err
	}
	for _, minute := range rest {
		c.Differ = append(c.Differ, Minute{Start: startOf(minute), Rows: rows[minute].n, Documents: documents[minute].n})
	}
	return nil
}

func startOf(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }

// look finds the events by which minutes differ. It looks twice, with a wait in between
// until each store has read what the other one has: what is on its way shows once at
// the most.
func (c *comparer) look(ctx context.Context, minutes []int64) error {
	first := make([]map[event.UUID]kind, len(minutes))
	found := 0
	for i, minute := range minutes {
		d, err := c.into(ctx, minute)
		if err != nil {
			return err
		}
		first[i] = d.events
		found += len(d.events)
	}
	if found == 0 {
		return nil
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	for i, minute := range minutes {
		if len(first[i]) == 0 {
			continue
		}
		d, err := c.into(ctx, minute)
		if err != nil {
			return err
		}
		maps.DeleteFunc(d.events, func(id event.UUID, k kind) bool { return first[i][id] != k })
		c.tell(minute, d)
	}
	return nil
}

// kind is how an event differs.
type kind byte

const (
	onlyPostgres kind = iota + 1
	onlyMongo
	different
	otherArrival
)

type difference struct {
	rows, documents int64
	events          map[event.UUID]kind
}

// into holds one minute's events of both stores in memory.
func (c *comparer) into(ctx context.Context, minute int64) (*difference, error) {
	from := startOf(minute)
	rows, documents, err := both(func(s side) (map[event.UUID]entry, error) {
		m := map[event.UUID]entry{}
		err := s.each(ctx, from, from.Add(time.Minute), func(e entry) error {
			m[e.id] = e
			return nil
		})
		return m, err
	}, c.rows, c.documents)
	if err != nil {
		return nil, err
	}
	d := &difference{int64(len(rows)), int64(len(documents)), map[event.UUID]kind{}}
	for id, row := range rows {
		switch doc, there := documents[id]; {
		case !there:
			d.events[id] = onlyPostgres
		case doc.content != row.content && !doc.received.Equal(row.received):
			d.events[id] = otherArrival
		case doc.content != row.content:
			d.events[id] = different
		}
	}
	for id := range documents {
		if _, there := rows[id]; !there {
			d.events[id] = onlyMongo
		}
	}
	return d, nil
}

// tell adds up what is left of a minute's difference.
func (c *comparer) tell(minute int64, d *difference) {
	m := Minute{Start: startOf(minute), Rows: d.rows, Documents: d.documents}
	ids := slices.SortedFunc(maps.Keys(d.events), func(x, y event.UUID) int { return slices.Compare(x[:], y[:]) })
	for _, id := range ids {
		switch d.events[id] {
		case onlyPostgres:
			m.OnlyPostgres.add(id)
		case onlyMongo:
			m.OnlyMongo.add(id)
		case different:
			m.Different.add(id)
		case otherArrival:
			c.OtherArrivals++
		}
	}
	if m.OnlyPostgres.N+m.OnlyMongo.N+m.Different.N > 0 {
		c.Differ = append(c.Differ, m)
	}
}

func (e *Events) add(id event.UUID) {
	e.N++
	if len(e.IDs) < compareIDs {
		e.IDs = append(e.IDs, id)
	}
}

// settle waits until each store has read what the other one has read by now, and notes
// how far one of them stays behind. A partition that only one store knows is not waited
// for: its topic may be gone.
func (c *comparer) settle(ctx context.Context) error {
	target := map[string]int64{}
	for deadline := time.Now().Add(c.wait); ; {
		x, y, err := both(func(s side) (map[string]int64, error) { return s.next(ctx) }, c.rows, c.documents)
		if err != nil {
			return err
		}
		first := len(target) == 0
		c.Behind = 0
		for place, n := range x {
			m, known := y[place]
			if !known {
				continue
			}
			if first {
				target[place] = max(n, m)
			}
			c.Behind += max(0, target[place]-min(n, m))
		}
		if c.Behind == 0 || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
