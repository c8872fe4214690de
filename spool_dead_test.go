package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"footfall/collector/spool"
	"footfall/event"
	"footfall/kafka"
	"footfall/sink/consume"
)

// keptAside is a spool with two records in dead/, of numbers 7 and 9.
func keptAside(t *testing.T) (dir string, id event.UUID, events []*event.Event) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(spool.Options{Dir: dir, SegmentBytes: 4 << 10, MinFree: -1,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for i, seq := range []uint64{7, 9} {
		id := event.NewUUID(time.Now())
		e := &event.Event{EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
			OccurredAt: id.Time(), ReceivedAt: id.Time(), Clock: event.ClockClient, Transport: event.TransportBeacon,
			VisitorID: []string{"v0", "v1"}[i]}
		events = append(events, e)
		if err := s.KeepDead(seq, e.AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, s.ID(), events
}

// deadKept is where they are.
type deadKept struct {
	dir string
	id  event.UUID
}

// left names the files that are there, without the spool's id.
func (d *deadKept) left() string {
	files, _ := filepath.Glob(filepath.Join(d.dir, "dead", "*"))
	for i := range files {
		files[i] = strings.TrimPrefix(filepath.Base(files[i]), d.id.String()+"-")
	}
	return strings.Join(files, " ")
}

func TestSpoolDeadShowsAndDrops(t *testing.T) {
	clean(t)
	dir, id, events := keptAside(t)
	kept := &deadKept{dir, id}
	if err := os.WriteFile(filepath.Join(dir, "dead", "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out := footfall(t, "spool", "dead", "ls", "--spool", dir)
	if f := strings.Fields(out); status != exitOK || len(f) != 12 || f[4] != "7" || f[7] != id.String() || f[8] != "9" {
		t.Errorf("ls: status %d, %s", status, out)
	}
	status, out = footfall(t, "spool", "dead", "show", "9", "--spool", dir)
	if status != exitOK || !strings.Contains(out, events[1].EventID.String()) || !strings.Contains(out, "number 9") {
		t.Errorf("show: status %d, %s", status, out)
	}
	if status, out = footfall(t, "spool", "dead", "drop", "8", "--spool", dir); status != exitProblem || !strings.Contains(out, "no record 8") {
		t.Errorf("drop of none: status %d, %s", status, out)
	}
	if status, out = footfall(t, "spool", "dead", "drop", "9", "--spool", dir); status != exitOK || kept.left() != "7.json notes.txt" {
		t.Errorf("drop: status %d, %s, left %s", status, out, kept.left())
	}
	for _, wrong := range [][]string{{"drop"}, {"drop", "7", "--all"}, {"drop", "x"}, {"replay", "--all"}} {
		args := append([]string{"spool", "dead", "--spool", dir}, wrong...)
		if status, out = footfall(t, args...); status != exitUsage {
			t.Errorf("%v: status %d, %s", wrong, status, out)
		}
	}
	if status, out = footfall(t, "spool", "dead", "ls", "--spool", t.TempDir()); status != exitProblem {
		t.Errorf("where no spool is: status %d, %s", status, out)
	}
}

func TestSpoolDeadReplaysWhatKafkaTakesNow(t *testing.T) {
	clean(t)
	dir, id, events := keptAside(t)
	kept := &deadKept{dir, id}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, consume.Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	refuse := true
	broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		if !refuse {
			return nil, nil, false
		}
		in := req.(*kmsg.ProduceRequest)
		out := in.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range in.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.MessageTooLarge.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	args := []string{"spool", "dead", "replay", "--all", "--spool", dir, "--brokers", strings.Join(broker.ListenAddrs(), ",")}
	status, out := footfall(t, args...)
	if status != exitProblem || kept.left() != "7.json 9.json" || !strings.Contains(out, "0 records were passed on to footfall.events, 2 stay") {
		t.Errorf("while Kafka refuses: status %d, %s, left %s", status, out, kept.left())
	}
	refuse = false
	if status, out = footfall(t, args...); status != exitOK || kept.left() != "" {
		t.Errorf("replay: status %d, %s, left %s", status, out, kept.left())
	}
	n := 0
	err = consume.Tail(t.Context(), consume.Options{Kafka: kafka.Cluster{Brokers: broker.ListenAddrs()}}, false,
		func(r consume.Record) error {
			if string(r.Key) != events[n].Key() || string(r.Value) != string(events[n].AppendJSON(nil)) {
				t.Errorf("record %d is %s %s", n, r.Key, r.Value)
			}
			if n++; n == 2 {
				return errEnough
			}
			return nil
		})
	if err != errEnough {
		t.Error(err)
	}
	if status, out = footfall(t, args...); status != exitOK || !strings.Contains(out, "0 records") {
		t.Errorf("with nothing left: status %d, %s", status, out)
	}
}
