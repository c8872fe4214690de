//go:build outside

package outside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/mongo"
)

// mongoServer speaks MongoDB's protocol. What it is not: scripts/mongo says it.
type mongoServer struct {
	t        *testing.T
	dir, url string
	*driver.Database
}

func startMongo(t *testing.T) *mongoServer {
	t.Helper()
	s := &mongoServer{t: t, dir: filepath.Join(t.TempDir(), "mongo")}
	t.Cleanup(func() { s.script(context.Background(), "down") })
	s.url = s.script(t.Context(), "up")
	client, err := driver.Connect(options.Client().ApplyURI(s.url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Disconnect(context.Background()) })
	s.Database = client.Database("footfall")
	return s
}

func (s *mongoServer) script(ctx context.Context, command string) string {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "../mongo", command, "--dir", s.dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("scripts/mongo %s: %v\n%s", command, err, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

func (s *mongoServer) kill()  { s.t.Helper(); s.script(s.t.Context(), "kill") }
func (s *mongoServer) start() { s.t.Helper(); s.script(s.t.Context(), "start") }

// all returns a collection's documents by their id.
func (s *mongoServer) all(collection string) map[string]bson.Raw {
	s.t.Helper()
	cursor, err := s.Collection(collection).Find(s.t.Context(), bson.D{})
	if err != nil {
		s.t.Fatal(err)
	}
	var list []bson.Raw
	if err := cursor.All(s.t.Context(), &list); err != nil {
		s.t.Fatal(err)
	}
	docs := map[string]bson.Raw{}
	for _, d := range list {
		id := d.Lookup("_id").String()
		if _, data, ok := d.Lookup("_id").BinaryOK(); ok {
			id = event.UUID(data).String()
		}
		docs[id] = d
	}
	return docs
}

// count asks for no document: the server answers one question after the other, and who polls
// must not keep it from its work.
func (s *mongoServer) count(collection string) int {
	s.t.Helper()
	n, err := s.Collection(collection).EstimatedDocumentCount(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return int(n)
}

// mongoRecord is a record as a collector writes it, with more members.
func mongoRecord(id event.UUID, members string) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"schema":1,"site":"demo","type":"custom","occurred_at":%d,`+
		`"received_at":%d,"clock":"client","bot":false,"transport":"beacon","gpc":false%s}`,
		id, id.Time().UnixMilli(), id.Time().UnixMilli()+100, members)
}

func mongoBatch(from int64, values ...[]byte) consume.Batch {
	p := consume.Part{Partition: 3, From: from}
	for i, v := range values {
		p.Records = append(p.Records, consume.Record{Offset: from + int64(i), Key: []byte("demo/v"), Value: v})
	}
	p.To = from + int64(len(values))
	return consume.Batch{ClusterID: "c", Topic: "footfall.events", TopicID: [16]byte{1}, Parts: []consume.Part{p}}
}

// openMongo returns a store whose partition 3 is at an offset.
func openMongo(t *testing.T, m *mongoServer, at int64) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), mongo.Options{URL: m.url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	next, err := s.Positions(t.Context(), "c", "footfall.events", [16]byte{1}, map[int32]int64{3: at})
	if err != nil || next[3] != at {
		t.Fatalf("positions are %v, %v", next, err)
	}
	return s
}

func TestMongoStoresEachEventOnceByItsKey(t *testing.T) {
	t.Parallel()
	m := startMongo(t)
	s := openMongo(t, m, 10)
	ctx := t.Context()
	a, b, c := event.NewUUID(time.Now()), event.NewUUID(time.Now()), event.NewUUID(time.Now())
	first := mongoBatch(10, mongoRecord(a, `,"name":"first"`), mongoRecord(b, `,"props":{"$set":{"a.b":1.5}}`),
		mongoRecord(a, `,"name":"second"`))
	if err := s.Write(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(ctx, first); !errors.Is(err, consume.ErrMoved) {
		t.Errorf("a batch that is stored gives %v", err)
	}
	if err := s.Write(ctx, mongoBatch(13, mongoRecord(b, `,"name":"again"`), mongoRecord(c, ""))); err != nil {
		t.Error(err)
	}
	docs := m.all("events")
	if len(docs) != 3 || docs[a.String()].Lookup("name").StringValue() != "first" ||
		docs[b.String()].Lookup("props", "$set", "a.b").Double() != 1.5 {
		t.Errorf("documents are %v", docs)
	}
	// Another sink that starts, also with where the log begins by now, finds the position.
	next, err := s.Positions(ctx, "c", "footfall.events", [16]byte{1}, map[int32]int64{3: 12, 4: 0})
	if err != nil || next[3] != 15 || next[4] != 0 {
		t.Errorf("positions are %v, %v", next, err)
	}
	// A person moves it, as mongosh writes numbers.
	if _, err := m.Collection("positions").UpdateOne(ctx, bson.D{{Key: "partition", Value: 3}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "next_offset", Value: 10.0}}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(ctx, first); err != nil {
		t.Error(err)
	}
	if again := m.all("events"); len(again) != 3 || !bytes.Equal(again[a.String()], docs[a.String()]) {
		t.Errorf("after another run the documents are %v", again)
	}
}

func TestMongoKeepsWhatCannotBeADocument(t *testing.T) {
	t.Parallel()
	m := startMongo(t)
	ctx := t.Context()
	if _, err := m.Collection("events").Indexes().CreateOne(ctx, driver.IndexModel{
		Keys: bson.D{{Key: "user_id", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true)}); err != nil {
		t.Fatal(err)
	}
	s := openMongo(t, m, 0)
	u, v, huge := event.NewUUID(time.Now()), event.NewUUID(time.Now()), event.NewUUID(time.Now())
	reasons := `,"bot_reasons":["x"` + strings.Repeat(`,"0123456789012345678901234567890123456789012345678901234567890123"`, 300_000) + `]`
	b := mongoBatch(0, []byte("\xff\x00 not JSON"), mongoRecord(u, `,"user_id":"7"`), mongoRecord(v, `,"user_id":"7"`),
		nil, mongoRecord(huge, reasons), mongoRecord(event.NewUUID(time.Now()), `,"ip":"nowhere"`))
	for range 2 { // the second attempt keeps no second one
		if err := s.Write(ctx, b); err != nil && !errors.Is(err, consume.ErrMoved) {
			t.Fatal(err)
		}
	}
	if docs := m.all("events"); len(docs) != 1 || docs[u.String()] == nil {
		t.Errorf("documents are %v", docs)
	}
	letters := m.all("dead_letters")
	if len(letters) != 5 {
		t.Errorf("%d dead letters, want 5", len(letters))
	}
	for offset, want := range map[int]string{0: "undecodable", 2: "refused_by_database", 3: "undecodable",
		4: "undecodable", 5: "undecodable"} {
		d := letters[fmt.Sprintf(`"c/%s/3/%d"`, event.UUID{1}, offset)]
		if d == nil || d.Lookup("reason").StringValue() != want || d.Lookup("detail").StringValue() == "" {
			t.Fatalf("the dead letter of offset %d is %.300s, want %s", offset, d, want)
		}
		_, value, _ := d.Lookup("value").BinaryOK()
		if sent := b.Parts[0].Records[offset].Value; !bytes.HasPrefix(sent, value) ||
			len(sent) < 1<<20 && len(sent) != len(value) {
			t.Errorf("offset %d is kept as %d bytes of %d", offset, len(value), len(sent))
		}
	}
}

// both is a process that writes into both stores.
func (c *cluster) startBoth(m *mongoServer, admin string) {
	c.t.Helper()
	c.sink = start(c.t, "sink", "--brokers", c.brokers, "--database-url", c.databaseURL,
		"--mongo-url", m.url, "--admin-listen", admin)
}

// TestMongoBesidePostgres lets both stores take the same topic while servers and sinks
// are killed, and has PostgreSQL go on while MongoDB is away.
func TestMongoBesidePostgres(t *testing.T) {
	t.Parallel()
	m := startMongo(t)
	c := startCluster(t)
	c.sink.stop()
	admin := freePort(t)
	c.startBoth(m, admin)
	// The audit looks at whole minutes. The load goes on while the server is behind: it must
	// not be more than that one takes.
	o := &oracle{url: c.url(), ago: 10 * time.Minute, pause: 50 * time.Millisecond}
	stop := o.load(t.Context())
	rows := func() int { return countRows(t, c.databaseURL) }
	documents := func() int { return m.count("events") }

	follow(t, "documents", 100, documents)
	m.kill()
	away := o.count()
	o.reach(t, away+300)
	follow(t, "rows without MongoDB", away+300, rows)
	wait(t, "health to name MongoDB", func() bool {
		out, status := run(t, "doctor", "--ready", "--admin", "http://"+admin)
		return status == 0 && strings.Contains(out, "degraded") && strings.Contains(out, "mongo: ")
	})
	m.start()
	follow(t, "documents after the outage", away+300, documents)
	o.reach(t, o.count()+100)
	c.sink.kill()
	c.startBoth(m, admin)
	o.reach(t, o.count()+100)
	m.kill()
	m.start()
	poison(t, c.brokers, "not JSON", `{"event_id":"x"}`, "")
	o.reach(t, o.count()+50)
	audit := func() (string, int) {
		t.Helper()
		return run(t, "audit", "--database-url", c.databaseURL, "--mongo", "--mongo-url", m.url)
	}
	// What is on its way is not missing.
	if out, status := audit(); status != 0 || !strings.Contains(out, "documents, ") {
		t.Errorf("audit under load: status %d\n%s", status, out)
	}
	stop()
	o.judge(t, c.databaseURL)

	ids := rowsByID(t, c.databaseURL)
	follow(t, "documents", len(ids), documents)
	docs := m.all("events")
	for id := range ids {
		if docs[id.String()] == nil {
			t.Errorf("%s is a row and no document", id)
		}
	}
	if len(docs) != len(ids) {
		t.Errorf("%d documents, and %d rows", len(docs), len(ids))
	}
	wait(t, "the dead letters", func() bool { return m.count("dead_letters") == 3 })
	if n := query(t, c.databaseURL, "select count(*) from footfall.dead_letters"); n != 3 {
		t.Errorf("PostgreSQL has %d dead letters, want 3", n)
	}

	if out, status := audit(); status != 0 || !strings.Contains(out, "ok   mongo ") || strings.Contains(out, " 0 documents") {
		t.Errorf("audit: status %d\n%s", status, out)
	}
	before := m.all("events")
	altered, missing, extra := tamper(t, c, m)
	out, status := audit()
	for _, want := range []string{"1 only in PostgreSQL (" + missing, "1 only in MongoDB (" + extra,
		"1 with other content (" + altered} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("audit: status %d, and does not tell %s\n%s", status, want, out)
		}
	}
	if _, err := m.Collection("events").ReplaceOne(t.Context(), bson.D{{Key: "_id",
		Value: before[altered].Lookup("_id")}}, before[altered]); err != nil {
		t.Fatal(err)
	}

	// From the start of the topic once more, over what is there and beside it.
	c.sink.stop()
	if _, err := m.Collection("positions").DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	fresh := &mongoServer{t: t, Database: m.Client().Database("fresh")}
	start(t, "sink", "--brokers", c.brokers, "--mongo-url", m.url, "--admin-listen", "127.0.0.1:0", "--group", "a")
	start(t, "sink", "--brokers", c.brokers, "--mongo-url", strings.Replace(m.url, "/footfall", "/fresh", 1),
		"--admin-listen", "127.0.0.1:0", "--group", "b")
	// Positions move by the batch, documents by the insert.
	follow(t, "offsets and documents of both", 2*(endOf(t, c.brokers)+len(before)), func() int {
		return m.ends() + m.count("events") + fresh.ends() + fresh.count("events")
	})
	for _, s := range []*mongoServer{m, fresh} {
		docs := s.all("events")
		for id, want := range before {
			if !bytes.Equal(docs[id], want) {
				t.Errorf("%s is %s, was %s", id, docs[id], want)
			}
		}
		if len(docs) != len(before) {
			t.Errorf("%d documents, were %d", len(docs), len(before))
		}
	}
}

// tamper alters a document, deletes another, and deletes the row of a third event.
func tamper(t *testing.T, c *cluster, m *mongoServer) (altered, missing, extra string) {
	t.Helper()
	docs := m.all("events")
	ids := slices.Sorted(maps.Keys(docs))
	ids = ids[len(ids)-3:] // the first ones may be from before MongoDB was there
	altered, missing, extra = ids[0], ids[1], ids[2]
	filter := func(id string) bson.D { return bson.D{{Key: "_id", Value: docs[id].Lookup("_id")}} }
	if _, err := m.Collection("events").UpdateOne(t.Context(), filter(altered),
		bson.D{{Key: "$set", Value: bson.D{{Key: "name", Value: "altered"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Collection("events").DeleteOne(t.Context(), filter(missing)); err != nil {
		t.Fatal(err)
	}
	query(t, c.databaseURL, "delete from footfall.events where event_id = $1", extra)
	return altered, missing, extra
}

// ends sums up the positions.
func (s *mongoServer) ends() (n int) {
	s.t.Helper()
	for _, p := range s.all("positions") {
		n += int(p.Lookup("next_offset").AsInt64())
	}
	return n
}

// endOf sums up the ends of the topic's partitions.
func endOf(t *testing.T, brokers string) (n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "footfall.events")
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	return n
}

func poison(t *testing.T, brokers string, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, v := range values {
		r := &kgo.Record{Topic: "footfall.events", Value: []byte(v)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
