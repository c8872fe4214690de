package consume

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// sound is a topic as it ought to be.
func sound() *Report {
	return &Report{Brokers: []string{"a", "b", "c"},
		Partitions: []Partition{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}},
		Settings: Settings{Known: true, MinInSync: 2, Retention: 7 * 24 * time.Hour, RetentionBytes: -1,
			MessageBytesMax: 1 << 20}}
}

func TestProblemsOfATopicAreNamed(t *testing.T) {
	t.Parallel()
	if list := sound().Problems(); len(list) > 0 {
		t.Errorf("a sound topic has problems %q", list)
	}
	alone := sound()
	alone.Brokers = alone.Brokers[:1]
	alone.Partitions = []Partition{{Replicas: []int32{1}, ISR: []int32{1}}}
	alone.Settings.MinInSync = 1
	if list := alone.Problems(); len(list) > 0 {
		t.Errorf("a cluster of one broker has problems %q", list)
	}
	for want, change := range map[string]func(*Report){
		"partition 0 has no leader":                func(r *Report) { r.Partitions[0].Leader = -1 },
		"2 of 3 replicas in sync":                  func(r *Report) { r.Partitions[0].ISR = []int32{1, 2} },
		"the topic has 1 replicas on 3 brokers":    func(r *Report) { r.Partitions[0] = alone.Partitions[0]; r.Settings.MinInSync = 1 },
		"min.insync.replicas is 1: set 2":          func(r *Report) { r.Settings.MinInSync = 1 },
		"min.insync.replicas is 3 of 3 replicas":   func(r *Report) { r.Settings.MinInSync = 3 },
		"unclean.leader.election.enable is true":   func(r *Report) { r.Settings.Unclean = true },
		"retention.ms is 1h0m0s: set at least 72h": func(r *Report) { r.Settings.Retention = time.Hour },
		"retention.bytes is 1000":                  func(r *Report) { r.Settings.RetentionBytes = 1000 },
		"max.message.bytes is 1000":                func(r *Report) { r.Settings.MessageBytesMax = 1000 },
		"cleanup.policy compacts":                  func(r *Report) { r.Settings.Compact = true },
	} {
		r := sound()
		change(r)
		if list := r.Problems(); len(list) != 1 || !strings.Contains(list[0], want) {
			t.Errorf("problems are %q, want %q", list, want)
		}
	}
}

func TestCheckReadsTheTopicsSettings(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	client, err := b.options().withDefaults().client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	set := func(key, value string) kadm.AlterConfig { return kadm.AlterConfig{Name: key, Value: &value} }
	_, err = kadm.NewClient(client.Client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
		set("retention.ms", "3600000"), set("cleanup.policy", "compact,delete"), set("max.message.bytes", "300000"),
	}, Topic)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Settings; !s.Known || s.Retention != time.Hour || !s.Compact || s.MessageBytesMax != 300000 || s.Unclean {
		t.Errorf("settings are %+v", s)
	}
}
