package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// stall begins the transaction of a batch as a sink does, and goes silent in the middle of
// COPY. It returns the connection, which the test closes.
func stall(t *testing.T, url string, partition int32) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	begin := "begin; " + defaultLimits.settings() + "; set local statement_timeout = '1s';" +
		"update footfall.sink_offsets set next_offset = 7 where partition = " + string('0'+rune(partition))
	if _, err := conn.Exec(t.Context(), begin).ReadAll(); err != nil {
		t.Fatal(err)
	}
	conn.Frontend().Send(&pgproto3.Query{String: "copy footfall.events (" + columns + ") from stdin (format binary)"})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := conn.ReceiveMessage(t.Context()); err != nil {
		t.Fatal(err)
	} else if _, ok := m.(*pgproto3.CopyInResponse); !ok {
		t.Fatalf("COPY began with %T", m)
	}
	w := (&Store{}).prepare(batch(part(0, 0, encoded(events(3, today())...)...)))
	var data bytes.Buffer
	if _, err := data.ReadFrom(&tuples{rows: w.live()}); err != nil {
		t.Fatal(err)
	}
	conn.Frontend().Send(&pgproto3.CopyData{Data: data.Bytes()[:data.Len()-10]})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func lives(t *testing.T, url string, conn *pgconn.PgConn) bool {
	t.Helper()
	return pgtest.Get[bool](t, url, "select exists (select from pg_stat_activity where pid = $1)", conn.PID())
}

// TestASinkStoppedInTheMiddleOfCopyHoldsNobodyForEver: the server does not act on
// statement_timeout while it waits for data, and such a transaction does not count as idle.
func TestASinkStoppedInTheMiddleOfCopyHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	url := member(t, owner, "footfall_ingest")
	s := openAt(t, url)
	var logged bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&logged, nil))
	own(t, s, 0, 1, 2)
	s.limits.lock = 200 * time.Millisecond
	stopped, other, foreign := stall(t, url, 0), stall(t, url, 1), stall(t, owner, 2)

	for p := range int32(3) {
		var pg *pgconn.PgError
		err := s.Write(t.Context(), batch(part(p, 0, encoded(at(today()))...)))
		if !errors.As(err, &pg) || pg.Code != "55P03" {
			t.Fatalf("write beside the stopped sink: %v", err)
		}
	}
	if !lives(t, owner, stopped) || !lives(t, owner, other) || !lives(t, owner, foreign) {
		t.Fatal("a session that may still be at work was ended")
	}

	s.limits.statement = time.Second
	for began, done := time.Now(), false; !done; {
		done = s.Write(t.Context(), batch(part(0, 0, encoded(at(today()))...))) == nil
		if time.Since(began) > 30*time.Second {
			t.Fatal("the stopped sink holds its position for ever")
		}
	}
	wantCounts(t, owner, counts{rows: 1, in: 1, inserted: 1})
	if lives(t, owner, stopped) || !lives(t, owner, other) {
		t.Error("not that session was ended which held the position")
	}
	if line := logged.String(); !strings.Contains(line, "session is ended") || !strings.Contains(line, "application=") {
		t.Errorf("log says %q", line)
	}
	if err := s.Write(t.Context(), batch(part(2, 0, encoded(at(today()))...))); err == nil || !lives(t, owner, foreign) {
		t.Errorf("beside another role's session: %v", err)
	}

	// A person who moves a position is not held up either.
	admin := openAt(t, owner)
	admin.limits = s.limits
	all, err := admin.AllPositions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Skip(t.Context(), all[2], 5); err != nil {
		t.Errorf("skip: %v", err)
	}
	if lives(t, owner, foreign) {
		t.Error("the owner's stopped session still holds its position")
	}
}

// looks is a store that counts how often it told positions.
type looks struct {
	*Store
	told atomic.Int32
}

func (l *looks) Positions(ctx context.Context, cluster, topic string, topicID [16]byte,
	starts map[int32]int64) (map[int32]int64, error) {
	next, err := l.Store.Positions(ctx, cluster, topic, topicID, starts)
	if err == nil {
		l.told.Add(1)
	}
	return next, err
}

// TestTheNextOwnerOfAStoppedSinkGetsPositionsAndGoesOn: whoever waited for the positions
// would never write, and only who writes ends the session that holds them. Nor does a batch
// under way, which holds them as that one does, keep the monitor from looking at them.
func TestTheNextOwnerOfAStoppedSinkGetsPositionsAndGoesOn(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.store.limits = defaultLimits
	j.store.limits.lock, j.store.limits.statement = 200*time.Millisecond, time.Second
	r, err := consume.Check(t.Context(), j.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.store.Positions(t.Context(), r.ClusterID, consume.Topic, r.TopicID, map[int32]int64{0: 0}); err != nil {
		t.Fatal(err)
	}
	stopped := stall(t, j.direct, 0)
	store := &looks{Store: j.store}
	c := j.start(store)
	j.awaits(c, "")
	for began, owned := time.Now(), store.told.Load(); store.told.Load() < owned+3; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the monitor waits for the stopped sink")
		}
	}
	if err := c.Ready(); err != nil || !lives(t, j.direct, stopped) {
		t.Errorf("with nothing to write health says %v, and the stopped session lives: %v", err, lives(t, j.direct, stopped))
	}
	j.produce(20)
	j.arrives()
	j.awaits(c, "")
	if lives(t, j.direct, stopped) {
		t.Error("the stopped sink still holds the position")
	}
}

// TestASinkThatDoesNotReadHoldsNobodyForEver: the server does not act on statement_timeout
// while it cannot get rid of an answer either.
func TestASinkThatDoesNotReadHoldsNobodyForEver(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	s.limits.lock, s.limits.statement = 200*time.Millisecond, time.Second
	stopped := pgtest.Connect(t, url).PgConn()
	t.Cleanup(func() { stopped.Close(context.Background()) })
	const begin = "begin; set local statement_timeout = '5s'; update footfall.sink_offsets set next_offset = 7"
	if _, err := stopped.Exec(t.Context(), begin).ReadAll(); err != nil {
		t.Fatal(err)
	}
	stopped.Frontend().Send(&pgproto3.Query{String: "select repeat(repeat('x', 1 << 20), 20)"})
	if err := stopped.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	const waits = "select wait_event is not distinct from 'ClientWrite' from pg_stat_activity where pid = $1"
	for began := time.Now(); !pgtest.Get[bool](t, url, waits, stopped.PID()); {
		if time.Since(began) > time.Minute {
			t.Fatal("the server gets rid of the answer")
		}
	}
	for began := time.Now(); s.Write(t.Context(), batch(part(0, 0, encoded(at(today()))...))) != nil; {
		if time.Since(began) > time.Minute {
			t.Fatal("the stopped sink holds its position for ever")
		}
	}
	wantCounts(t, url, counts{rows: 1, in: 1, inserted: 1})
}

func TestTheServerNoticesThatAHostIsGone(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	conn := pgtest.Connect(t, url)
	defer conn.Close(context.Background())
	const show = `select array_to_string(array[current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'),
		current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout')], ' ')`
	second := func(_ pgconn.CommandTag, err error) error { return err }
	var before, during, after string
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		conn.QueryRow(t.Context(), show).Scan(&before),
		second(tx.Exec(t.Context(), defaultLimits.settings())),
		tx.QueryRow(t.Context(), show).Scan(&during),
		tx.Commit(t.Context()),
		conn.QueryRow(t.Context(), show).Scan(&after),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if during != "15 15 3 60000" {
		t.Errorf("inside the transaction: %s", during)
	}
	if after != before {
		t.Errorf("behind the transaction: %s, before it %s", after, before)
	}
}
