package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func TestTheMetricIsReadAsItIsWritten(t *testing.T) {
	set := metrics.NewSet()
	h := set.GetOrCreateHistogram("footfall_freshness_seconds")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { set.WritePrometheus(w) }))
	defer server.Close()
	p := &path{admin: strings.TrimPrefix(server.URL, "http://")}
	read := func() histogram {
		t.Helper()
		got, err := p.metric(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	update := func(n int, v float64) {
		for range n {
			h.Update(v)
		}
	}
	update(500, 70)
	earlier := read()
	update(1, 0) // a collector whose clock is ahead
	update(97, 0.2)
	update(1, 0.5)
	update(1, 2)
	later := read()
	for _, c := range []struct{ q, least float64 }{{0.5, 0.2}, {0.98, 0.2}, {0.99, 0.5}, {1, 2}} {
		if got := later.since(earlier, c.q); got < c.least || got > 1.15*c.least {
			t.Errorf("quantile %v is %v, want %v or up to a seventh more", c.q, got, c.least)
		}
	}
	if got := earlier.since(nil, 0.5); got < 70 || got > 80 {
		t.Errorf("what came before is %v", got)
	}
	if got := later.since(later, 0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestNoiseMissesNoGoal(t *testing.T) {
	for want, list := range map[string][]freshness{
		"met": {
			{Rate: 1000, P99: 0.9, P99Metric: 0.9},
			{Rate: 1000, P99: 3, P99Metric: 0.9, P99Quiet: 0.8, Kept: 5},
		},
		"MISSED": {
			{Rate: 1000, P99: 3, P99Metric: 3, P99Quiet: 1.1, Kept: 5},
		},
		"inconclusive": {
			{Rate: 1000, P99: 3, P99Metric: 0.9, P99Quiet: 0.8, Kept: 4},
			{Rate: 1000, P99: 0.9, P99Metric: 3},
			{Rate: 900, P99: 0.1, P99Metric: 0.1}, // it was not asked for as much as that
		},
	} {
		for _, f := range list {
			if f.Wanted, f.Goal = 1000, 1; f.verdict() != want {
				t.Errorf("%+v is %s, want %s", f, f.verdict(), want)
			}
		}
	}
}
