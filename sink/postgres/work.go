package postgres

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"footfall/event"
	"footfall/sink/consume"
)

// work is a batch on its way into the database: its records decoded and encoded as
// binary tuples, and what became of each.
type work struct {
	consume.Batch        // parts in the order of partitions
	place         place  // where it goes
	rows          []row  // of all parts, in the order of partition and offset
	ordered       []*row // those that were readable, in the order of id
	tally         []tally
	path          path
	hits          int       // bad rows found by COPY's line number
	leftOut       int       // rows that a trigger kept out
	tries         int       // attempts repeated at once
	late          time.Time // when this attempt has lasted too long
}

// row is one record of the batch.
type row struct {
	part     int // index of Batch.Parts
	record   *consume.Record
	id       event.UUID
	site     string
	received int64 // Unix milliseconds
	body     []byte
	state    rowState
	inserted bool // stored, and no duplicate
	// Of a refused row:
	reason           event.Reason
	sqlstate, detail string
}

type rowState byte

const (
	pending rowState = iota
	stored           // a row, or a duplicate of one
	refused          // a dead letter
)

type tally struct{ inserted, duplicate, dead int64 }

// path is how rows get into the table, from the fast to the thorough.
type path byte

const (
	direct path = iota // COPY into the table: ends at the first duplicate or bad row
	sifted             // COPY of what a look into the table did not find there
	staged             // through a staging table: ends at a bad row
	halved             // staged in ever smaller runs, until bad rows stand alone
)

// prepare decodes and encodes each part's records, parts side by side. Records that
// cannot be read are refused here, before the transaction.
func (s *Store) prepare(b consume.Batch) *work {
	b.Parts = slices.SortedFunc(slices.Values(b.Parts), func(x, y consume.Part) int {
		return int(x.Partition) - int(y.Partition)
	})
	n := 0
	for i := range b.Parts {
		n += len(b.Parts[i].Records)
	}
	w := &work{Batch: b, place: s, rows: make([]row, n), tally: make([]tally, len(b.Parts))}
	var decoding sync.WaitGroup
	at := 0
	for i := range b.Parts {
		rows := w.rows[at : at+len(b.Parts[i].Records)]
		at += len(rows)
		decoding.Go(func() { s.prepareRows(rows, i, b.Parts[i].Records) })
	}
	decoding.Wait()
	w.order()
	return w
}

// order sorts by id, and what has the same id by place in the batch.
func (w *work) order() {
	w.ordered = make([]*row, 0, len(w.rows))
	for i := range w.rows {
		if w.rows[i].state == pending {
			w.ordered = append(w.ordered, &w.rows[i])
		}
	}
	slices.SortFunc(w.ordered, func(a, b *row) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), a.part-b.part,
			int(a.record.Offset-b.record.Offset))
	})
}

func (s *Store) prepareRows(rows []row, part int, records []consume.Record) {
	size := 0
	for i := range records {
		size += len(records[i].Value)
	}
	buf := make([]byte, 0, size)
	sites := names{}
	var e event.Event // one for all: a row keeps none of its memory
	for i := range rows {
		r := &rows[i]
		r.part, r.record = part, &records[i]
		if refusal := s.decoder.RecordInto(&e, records[i].Value); refusal != nil {
			r.refuse(event.Undecodable, "", refusal.Detail)
			continue
		}
		r.id, r.site, r.received = e.EventID, sites.keep(e.Site), e.ReceivedAt.UnixMilli()
		from := len(buf)
		var err error
		if buf, err = appendRow(buf, &e); err != nil {
			buf = buf[:from]
			r.refuse(event.Undecodable, "", err.Error())
			continue
		}
		// A buffer that grows leaves earlier rows where they are.
		r.body = buf[from:len(buf):len(buf)]
	}
}

const detailMax = 500 // bytes

// refuse makes a dead letter of the row. The detail may quote the record, so it is
// made storable.
func (r *row) refuse(reason event.Reason, sqlstate, detail string) {
	detail = strings.ReplaceAll(strings.ToValidUTF8(detail, "\uFFFD"), "\x00", "")
	if len(detail) > detailMax {
		cut := detailMax
		for !utf8.RuneStart(detail[cut]) {
			cut--
		}
		detail = detail[:cut]
	}
	r.state, r.reason, r.sqlstate, r.detail = refused, reason, sqlstate, detail
}

// begin forgets what earlier calls with the batch have found out: since then the
// database may have become another.
func (w *work) begin() {
	w.restart()
	w.path, w.hits, w.leftOut, w.tries = direct, 0, 0, 0
	for i := range w.rows {
		if r := &w.rows[i]; r.state == refused && r.reason == event.RefusedByDatabase {
			r.state = pending
		}
	}
}

// restart forgets what an attempt that was rolled back has stored. Refusals stay.
func (w *work) restart() {
	clear(w.tally)
	for i := range w.rows {
		if w.rows[i].state == stored {
			w.rows[i].state = pending
		}
		w.rows[i].inserted = false
	}
}

// errSlow is about statements that each took less than one may, and too long together.
var errSlow = errors.New("finding what is stored, or what is bad, takes too long")

// slow returns an error that halves the batch once this attempt has lasted too long. Between
// statements that are many where rows are of many days, or bad.
func (w *work) slow() error {
	if w.late.IsZero() || time.Now().Before(w.late) {
		return nil
	}
	return &rowsError{errSlow, nil}
}

func (w *work) partitions() []int32 {
	list := make([]int32, len(w.Parts))
	for i, p := range w.Parts {
		list[i] = p.Partition
	}
	return list
}

// live returns the pending rows, of several with the same id only the first, and
// none whose id is stored: what COPY may take without stumbling over itself. The
// time is inside the id, so the id alone is the key.
//
// They come in the order of the key. Transactions that store the same ids at the same
// time then wait for each other in one direction only, which is no deadlock.
func (w *work) live() []*row {
	rows := make([]*row, 0, len(w.rows))
	for _, r := range w.ordered {
		if r.state == refused {
			continue
		}
		if n := len(rows); n > 0 && rows[n-1].id == r.id {
			continue
		}
		rows = append(rows, r)
	}
	return slices.DeleteFunc(rows, func(r *row) bool { return r.state == stored })
}

// duplicates is how many records of a settled batch were stored before.
func (w *work) duplicates() (n int64) {
	for _, t := range w.tally {
		n += t.duplicate
	}
	return n
}

// settle turns what is left of the batch into counts: every record is inserted,
// dead, or else a duplicate.
func (w *work) settle() {
	for i := range w.tally {
		w.tally[i].dead = 0
	}
	for i := range w.rows {
		if r := &w.rows[i]; r.state == refused {
			w.tally[r.part].dead++
		} else {
			r.state = stored
		}
	}
	for i := range w.tally {
		t := &w.tally[i]
		t.duplicate = int64(len(w.Parts[i].Records)) - t.inserted - t.dead
	}
}

// halves splits a batch into two that can be written one after the other. It
// reports false for a batch of one record.
func halves(b consume.Batch) (first, second consume.Batch, ok bool) {
	n := 0
	for i := range b.Parts {
		n += len(b.Parts[i].Records)
	}
	if n < 2 {
		return b, b, false
	}
	first, second = b, b
	first.Parts, second.Parts = nil, nil
	room := n / 2
	for _, p := range b.Parts {
		switch {
		case room >= len(p.Records):
			first.Parts = append(first.Parts, p)
		case room == 0:
			second.Parts = append(second.Parts, p)
		default:
			head, tail := p, p
			head.Records, tail.Records = p.Records[:room], p.Records[room:]
			head.To = tail.Records[0].Offset
			tail.From = head.To
			first.Parts, second.Parts = append(first.Parts, head), append(second.Parts, tail)
		}
		room = max(0, room-len(p.Records))
	}
	return first, second, true
}
