package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"footfall/event"
	"footfall/sink/consume"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pageview is an event as the collector passes it on: about 870 bytes of JSON, 36 fields.
func pageview(i int, then time.Time) *event.Event {
	id := event.NewUUID(then)
	return &event.Event{
		EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
		OccurredAt: id.Time(), ReceivedAt: id.Time().Add(40 * time.Millisecond), Clock: event.ClockClient,
		URL: fmt.Sprintf("https://shop.example/shoes/red-%d?utm_source=may", i%1000), Hostname: "shop.example",
		Path: fmt.Sprintf("/shoes/red-%d", i%1000), Title: "Red shoes, a page of the shop that has a title",
		Referrer: "https://search.example/", ReferrerHost: "search.example", Source: "may", Channel: "organic",
		UTMSource: "may", VisitorID: fmt.Sprintf("%032x", i%5000), SessionID: fmt.Sprintf("%016x", i%9000),
		PageviewID: fmt.Sprintf("%016x", i), Country: "DE", ASN: event.Some(3320),
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		Browser:   "Chrome", BrowserVersion: "140", OS: "Linux", Device: "desktop", Language: "de-DE",
		Timezone: "Europe/Berlin", ScreenW: event.Some(1920), ScreenH: event.Some(1080),
		ViewportW: event.Some(1900), ViewportH: event.Some(950), Transport: event.TransportBeacon,
		SnippetVersion: "1.0.0", Props: event.JSON(`{"plan":"pro","items":3,"variant":"b"}`),
	}
}

// pageviews end now, a millisecond apart, so that their ids grow as in life.
func pageviews(n int) []*event.Event {
	return pageviewsFrom(time.Now().Add(-time.Duration(n)*time.Millisecond), n)
}

func pageviewsFrom(first time.Time, n int) []*event.Event {
	list := make([]*event.Event, n)
	for i := range list {
		list[i] = pageview(i, first.Add(time.Duration(i)*time.Millisecond))
	}
	return list
}

// produce makes a topic of so many partitions and fills it, one partition after the other
// by turns of a thousand: visitors are spread like that, and batches stay whole.
func produce(ctx context.Context, brokers []string, topic string, partitions int, list []*event.Event,
	encode func(*event.Event) []byte) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, int32(partitions), 1, nil, topic); err != nil {
		return fmt.Errorf("make topic %s: %w", topic, err)
	}
	failed := make(chan error, 1)
	for i, e := range list {
		r := &kgo.Record{Partition: int32(i / 1000 % partitions), Key: []byte(e.Key()), Value: encode(e)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("fill topic %s: %w", topic, err)
	default:
		return nil
	}
}

func asJSON(e *event.Event) []byte { return e.AppendJSON(nil) }

// connectForm is the same event as JsonConverter reads it: the schema beside the payload,
// in each record, with the types of the table's columns. Only fields that the events have.
func connectForm(e *event.Event) []byte {
	type field struct {
		Field    string `json:"field"`
		Type     string `json:"type"`
		Name     string `json:"name,omitempty"`
		Version  int    `json:"version,omitempty"`
		Optional bool   `json:"optional"`
	}
	var payload map[string]any
	json.Unmarshal(e.AppendJSON(nil), &payload)
	var fields []field
	for i := range event.Fields {
		f := &event.Fields[i]
		if _, ok := payload[f.Name]; !ok {
			continue
		}
		is := field{Field: f.Name, Type: "string"}
		switch f.At(e).(type) {
		case *event.UUID:
			is.Name = "io.debezium.data.Uuid"
		case *event.Int:
			is.Type = map[bool]string{true: "int32", false: "int64"}[f.Max < 1<<31]
			if f.Max < 1<<15 {
				is.Type = "int16"
			}
		case *bool:
			is.Type = "boolean"
		case *time.Time:
			is.Type, is.Name, is.Version = "int64", "org.apache.kafka.connect.data.Timestamp", 1
		case *event.JSON:
			is.Name = "io.debezium.data.Json"
			payload[f.Name] = string(e.Props)
		}
		fields = append(fields, is)
	}
	b, _ := json.Marshal(map[string]any{"payload": payload,
		"schema": map[string]any{"type": "struct", "name": "event", "optional": false, "fields": fields}})
	return b
}

// batches cuts events into batches as the sink would, of one partition.
func batches(list []*event.Event, rows int) (all []consume.Batch) {
	b := consume.Batch{ClusterID: "bench", Topic: "bench"}
	for from := 0; from < len(list); from += rows {
		to := min(from+rows, len(list))
		p := consume.Part{From: int64(from), To: int64(to)}
		for i, e := range list[from:to] {
			p.Records = append(p.Records, consume.Record{Offset: int64(from + i), Value: e.AppendJSON(nil)})
		}
		b.Parts = []consume.Part{p}
		all = append(all, b)
	}
	return all
}
