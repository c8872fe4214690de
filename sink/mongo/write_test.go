package mongo

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"footfall/event"
	"footfall/sink/consume"
)

// slow is a server that takes its time for an insert.
type slow struct {
	insert   time.Duration
	inserted int
}

// DialContext connects the driver without a network, so that time is the test's.
func (s *slow) DialContext(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go s.serve(server)
	return client, nil
}

const headerBytes = 16 // of a message: its length, its id, the id it answers, what it is

func (s *slow) serve(conn net.Conn) {
	defer conn.Close()
	for {
		head := make([]byte, headerBytes)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(head)-headerBytes)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		answer, err := bson.Marshal(s.answer(body))
		if err != nil {
			return
		}
		// The same kind of message: no flags, and one section that is a document.
		out := binary.LittleEndian.AppendUint32(nil, uint32(headerBytes+5+len(answer)))
		out = append(append(append(out, head[4:8]...), head[4:8]...), head[12:16]...)
		out = append(append(out, 0, 0, 0, 0, 0), answer...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func (s *slow) answer(body []byte) bson.M {
	command := bson.Raw(body[5:]) // behind the flags and the kind of the first section
	command = command[:binary.LittleEndian.Uint32(command)]
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return bson.M{"ok": 0}
	}
	switch elements[0].Key() {
	case "insert":
		time.Sleep(s.insert)
		s.inserted++
	case "update":
		return bson.M{"ok": 1, "n": 1, "nModified": 1}
	}
	return bson.M{"ok": 1, "n": 1, "maxWireVersion": 21, "helloOk": true, "isWritablePrimary": true,
		"serviceId": bson.NewObjectID(), "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
		"maxWriteBatchSize": 100_000}
}

// records are n events of one partition.
func records(n int) consume.Batch {
	p := consume.Part{To: int64(n)}
	for i := range n {
		id := event.NewUUID(time.Now())
		value := fmt.Appendf(nil, `{"event_id":%q,"schema":1,"site":"demo","type":"custom","occurred_at":%d,`+
			`"received_at":%d,"clock":"client","bot":false,"transport":"beacon","gpc":false}`,
			id, id.Time().UnixMilli(), id.Time().UnixMilli())
		p.Records = append(p.Records, consume.Record{Offset: int64(i), Value: value})
	}
	return consume.Batch{ClusterID: "c", Topic: "footfall.events", Parts: []consume.Part{p}}
}

// A batch is as slow as its inserts together. Were its time that of one, the same batch would be
// written again for ever, and no position would move.
func TestASlowServerHasTimeForEachInsert(t *testing.T) {
	for _, c := range []struct {
		insert time.Duration
		stored bool
	}{{40 * time.Second, true}, {2 * time.Minute, false}} {
		synctest.Test(t, func(t *testing.T) {
			server := &slow{insert: c.insert}
			opts, name, err := configure("mongodb://a/?loadBalanced=true")
			if err != nil {
				t.Fatal(err)
			}
			client, err := mongo.Connect(opts.SetDialer(server))
			if err != nil {
				t.Fatal(err)
			}
			s := newStore(client, name, Options{})
			defer s.Close()
			defer time.Sleep(c.insert) // the driver still listens for a late answer, and spins for its end
			began := time.Now()
			err = s.Write(t.Context(), records(5*insertRows))
			took := time.Since(began)
			if c.stored && (err != nil || server.inserted != 5) {
				t.Errorf("after %s and %d inserts: %v", took, server.inserted, err)
			}
			if !c.stored && (err == nil || took > 2*commandMax) {
				t.Errorf("a server that does not answer: after %s %v", took, err)
			}
		})
	}
}
