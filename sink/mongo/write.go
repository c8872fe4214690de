package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"footfall/event"
	"footfall/sink/consume"
)

// Bounds of one insert.
const (
	insertRows  = 1000
	insertBytes = 4 << 20
	documentMax = 16 << 20 // MongoDB's own
)

// work is a batch on its way into the database. What of it is inserted stays, whatever
// happens to the rest.
type work struct {
	consume.Batch
	records             int
	inserted, duplicate int64
	refused             map[event.Reason]int64
	oldest              int64 // received_at of the record that waited longest
	seen                map[event.UUID]struct{}
	documents, letters  chunk
}

// chunk is what goes into a collection by one insert.
type chunk struct {
	buf  []byte
	docs []any // bson.Raw, in buf
	from []source
}

// source is the record that a document comes from.
type source struct {
	part   *consume.Part
	record *consume.Record
}

func (c *chunk) full() bool { return len(c.docs) >= insertRows || len(c.buf) >= insertBytes }

func (c *chunk) add(doc []byte, from source) {
	c.docs, c.from = append(c.docs, bson.Raw(doc)), append(c.from, from)
}

func (c *chunk) reset() { c.buf, c.docs, c.from = c.buf[:0], c.docs[:0], c.from[:0] }

// Write stores a batch, each record as a document, a duplicate of one or a dead
// letter, and then moves its positions. On an error the positions stand where they
// stood, and some of the records may be stored: the same batch may be written again,
// and no document comes twice. consume.ErrMoved says that a position is not where the
// batch begins; what was inserted then is what its owner inserts too. A server has time
// for each insert, not for the batch: one that is slow would else never be through.
func (s *Store) Write(ctx context.Context, b consume.Batch) error {
	started := time.Now()
	w := &work{Batch: b, refused: map[event.Reason]int64{}, seen: map[event.UUID]struct{}{}}
	if err := s.store(ctx, w); err != nil {
		return fmt.Errorf("write %d records: %w", w.records, err)
	}
	if err := s.move(ctx, b); err != nil {
		return err
	}
	s.meters.stored(w, started)
	return nil
}

func (s *Store) store(ctx context.Context, w *work) error {
	for i := range w.Parts {
		part := &w.Parts[i]
		w.records += len(part.Records)
		for j := range part.Records {
			s.prepare(w, source{part, &part.Records[j]})
			if err := s.flush(ctx, w, false); err != nil {
				return err
			}
		}
	}
	return s.flush(ctx, w, true)
}

// prepare makes a document or a dead letter of a record. Of several with one id in a
// batch the first counts.
func (s *Store) prepare(w *work, from source) {
	e, refusal := s.decoder.Record(from.record.Value)
	if refusal != nil {
		w.refuse(from, event.Undecodable, 0, refusal.Detail)
		return
	}
	if _, twice := w.seen[e.EventID]; twice {
		w.duplicate++
		return
	}
	c := &w.documents
	at := len(c.buf)
	buf, err := s.encoder.appendDocument(c.buf, e)
	if size := len(buf) - at; err == nil && size > documentMax {
		err = fmt.Errorf("document is %d bytes, at most %d fit", size, documentMax)
	}
	if err != nil {
		w.refuse(from, event.Undecodable, 0, err.Error())
		return
	}
	w.seen[e.EventID] = struct{}{}
	if received := e.ReceivedAt.UnixMilli(); w.oldest == 0 || received < w.oldest {
		w.oldest = received
	}
	// A buffer that grows leaves earlier documents where they are.
	c.buf = buf
	c.add(buf[at:len(buf):len(buf)], from)
}

// flush inserts what is gathered: what is full, or all of it.
func (s *Store) flush(ctx context.Context, w *work, all bool) error {
	if w.documents.full() || all {
		if err := s.insertDocuments(ctx, w); err != nil {
			return err
		}
	}
	// After the documents: some of them may have become dead letters.
	if w.letters.full() || all {
		_, err := insert(ctx, s.dead, &w.letters)
		if err != nil && !onlyDuplicates(err) { // a duplicate was kept by an attempt before
			return fmt.Errorf("keep dead letters: %w", err)
		}
		w.letters.reset()
	}
	return nil
}

func (s *Store) insertDocuments(ctx context.Context, w *work) error {
	c := &w.documents
	faults, err := insert(ctx, s.events, c)
	if err != nil && faults == nil {
		return fmt.Errorf("insert documents: %w", err)
	}
	for _, f := range faults {
		if judge(f) == trouble {
			return fmt.Errorf("insert documents: %w", f)
		}
	}
	w.inserted += int64(len(c.docs) - len(faults))
	for _, f := range faults {
		if judge(f) == duplicate {
			w.duplicate++
			continue
		}
		w.refuse(c.from[f.Index], event.RefusedByDatabase, f.Code, f.Message)
	}
	c.reset()
	return nil
}

// insert returns the server's errors about single documents, beside which all others
// are stored, or the error that leaves it open what is.
func insert(ctx context.Context, to *mongo.Collection, c *chunk) ([]mongo.WriteError, error) {
	if len(c.docs) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	_, err := to.InsertMany(ctx, c.docs, options.InsertMany().SetOrdered(false))
	return perDocument(err), err
}

// perDocument returns nothing when an error is about more than single documents: one
// that no majority has acknowledged comes beside them.
func perDocument(err error) (list []mongo.WriteError) {
	bulk, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || bulk.WriteConcernError != nil {
		return nil
	}
	for _, e := range bulk.WriteErrors {
		list = append(list, e.WriteError)
	}
	return list
}

func onlyDuplicates(err error) bool {
	list := perDocument(err)
	return len(list) > 0 && !slices.ContainsFunc(list, func(e mongo.WriteError) bool {
		return judge(e) != duplicate
	})
}

const (
	detailMax = 500     // bytes
	valueMax  = 7 << 20 // bytes: key and value fit into one document
)

// refuse makes a dead letter of a record, under its place in the topic, so that one
// that is written again is still one. The detail may quote the record, so it is made
// storable.
func (w *work) refuse(from source, reason event.Reason, code int, detail string) {
	w.refused[reason]++
	detail = strings.ToValidUTF8(detail[:min(len(detail), detailMax)], "\uFFFD")
	r := from.record
	c := &w.letters
	at := len(c.buf)
	b := appendText(open(c.buf), "_id", fmt.Sprintf("%s/%d",
		positionID(w.ClusterID, w.TopicID, from.part.Partition), r.Offset))
	b = appendDate(b, "at", time.Now())
	b = appendText(b, "reason", string(reason))
	if code != 0 {
		b = appendLong(b, "code", int64(code))
	}
	b = appendText(b, "detail", detail)
	b = appendText(b, "topic", w.Topic)
	b = appendLong(b, "partition", int64(from.part.Partition))
	b = appendLong(b, "offset", r.Offset)
	b = appendBytes(b, "key", r.Key)
	b = appendBytes(b, "value", r.Value)
	c.buf = shut(b, at)
	c.add(c.buf[at:len(c.buf):len(c.buf)], from)
}

// appendBytes keeps what fits of a value, and says how long it was when not all does.
func appendBytes(b []byte, key string, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	if n := len(v); n > valueMax {
		v = v[:valueMax]
		b = appendLong(b, key+"_bytes", int64(n))
	}
	return appendBinary(b, key, bson.TypeBinaryGeneric, v)
}
