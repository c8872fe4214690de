package mongo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"footfall/event"
)

// Digest is a hash of what a document says, whatever the order of its keys: the first
// half of a SHA-256.
type Digest [16]byte

// Digester makes digests. It is not for concurrent use.
type Digester struct {
	encoder encoder
	doc     []byte
	plain   []byte
}

// Event returns the digest of the document that an event makes: so a row of another
// store can be held against it.
func (d *Digester) Event(e *event.Event) (Digest, error) {
	var err error
	if d.doc, err = d.encoder.appendDocument(d.doc[:0], e); err != nil {
		return Digest{}, err
	}
	return d.document(d.doc)
}

// document looks at the fields of an event, and passes over what others have added.
func (d *Digester) document(doc bson.Raw) (Digest, error) {
	elements, err := doc.Elements()
	if err != nil {
		return Digest{}, fmt.Errorf("read document: %w", err)
	}
	values := make(map[string]bson.RawValue, len(elements))
	for _, e := range elements {
		values[e.Key()] = e.Value()
	}
	d.plain = d.plain[:0]
	for i := range event.Fields {
		name := event.Fields[i].Name
		if name == "event_id" {
			name = "_id"
		}
		if v, there := values[name]; there {
			d.plain = append(append(d.plain, name...), 0)
			if d.plain, err = appendPlain(d.plain, v); err != nil {
				return Digest{}, fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	sum := sha256.Sum256(d.plain)
	return Digest(sum[:16]), nil
}

// appendPlain appends a value with the keys of its documents in order. PostgreSQL's
// jsonb has an order of its own.
func appendPlain(b []byte, v bson.RawValue) ([]byte, error) {
	b = append(b, byte(v.Type))
	if v.Type != bson.TypeEmbeddedDocument && v.Type != bson.TypeArray {
		return append(b, v.Value...), nil // says its own length
	}
	elements, err := bson.Raw(v.Value).Elements()
	if err != nil {
		return b, err
	}
	if v.Type == bson.TypeEmbeddedDocument {
		slices.SortFunc(elements, func(x, y bson.RawElement) int { return cmp.Compare(x.Key(), y.Key()) })
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(elements)))
	for _, e := range elements {
		if b, err = appendPlain(append(append(b, e.Key()...), 0), e.Value()); err != nil {
			return b, err
		}
	}
	return b, nil
}

// Each calls fn for every document whose occurred_at lies in [from, to), in no order,
// until fn returns an error (that one). It is a range of the index of _id.
func (s *Store) Each(ctx context.Context, from, to time.Time,
	fn func(id event.UUID, received time.Time, content Digest) error) error {
	cursor, err := s.events.Find(ctx, bson.D{{Key: "_id", Value: bson.D{
		{Key: "$gte", Value: bound(from)}, {Key: "$lt", Value: bound(to)}}}},
		options.Find().SetBatchSize(insertRows))
	if err != nil {
		return fmt.Errorf("read documents: %w", err)
	}
	defer cursor.Close(ctx)
	var d Digester
	for cursor.Next(ctx) {
		_, id, ok := cursor.Current.Lookup("_id").BinaryOK()
		if !ok || len(id) != len(event.UUID{}) {
			return fmt.Errorf("read documents: _id %s is no UUID", cursor.Current.Lookup("_id"))
		}
		content, err := d.document(cursor.Current)
		if err != nil {
			return err
		}
		received, _ := cursor.Current.Lookup("received_at").TimeOK()
		if err := fn(event.UUID(id), received, content); err != nil {
			return err
		}
	}
	if err := cursor.Err(); err != nil {
		return fmt.Errorf("read documents: %w", err)
	}
	return nil
}

// bound is less than every id of its millisecond, and more than all before.
func bound(t time.Time) bson.Binary {
	var id event.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, t.UnixMilli())))
	copy(id[:6], ms[2:])
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: bytes.Clone(id[:])}
}

// ErrEmpty says that no sink has ever written here.
var ErrEmpty = errors.New("mongo has no positions: no sink has written into this database")

// Next returns every stored position, by cluster id, topic id and partition with
// slashes between them, and when the first of them was made: what was received before
// that need not be here. It returns ErrEmpty when there is none.
func (s *Store) Next(ctx context.Context) (next map[string]int64, began time.Time, err error) {
	cursor, err := s.positions.Find(ctx, bson.D{})
	if err != nil {
		return nil, began, fmt.Errorf("read positions: %w", err)
	}
	var found []struct {
		ID    string    `bson:"_id"`
		Next  int64     `bson:"next_offset"`
		Began time.Time `bson:"began_at"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, began, fmt.Errorf("read positions: %w", err)
	}
	next = make(map[string]int64, len(found))
	for _, f := range found {
		next[f.ID] = f.Next
		if began.IsZero() || f.Began.Before(began) {
			began = f.Began
		}
	}
	if len(next) == 0 {
		return nil, began, ErrEmpty
	}
	return next, began.UTC(), nil
}
