package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func TestMetricsOfTheSecondStoreAreToldApart(t *testing.T) {
	set := metrics.NewSet()
	set.GetOrCreateCounter("plain_total").Add(3)
	set.GetOrCreateCounter(`labelled_total{reason="a b{"}`).Inc()
	set.GetOrCreateHistogram("seconds").Update(2)
	var b bytes.Buffer
	writeLabelled(&b, set, `store="mongo"`)
	for _, want := range []string{
		`plain_total{store="mongo"} 3` + "\n",
		`labelled_total{store="mongo",reason="a b{"} 1` + "\n",
		`seconds_bucket{store="mongo",vmrange="`,
		`seconds_sum{store="mongo"} 2` + "\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, &b)
		}
	}
}

func TestTheSinkNeedsOneStore(t *testing.T) {
	clean(t)
	for args, want := range map[string]string{
		"":                         "no database",
		"--mongo-url mongodb://h":  "",
		"--database-url postgres:": "",
		"--database-url postgres: --mongo-url mongodb://u:hunter2@h:0": "mongo-url: want a URL like mongodb://",
	} {
		_, err := settings(t, append([]string{"sink", "--brokers", "k:1"}, strings.Fields(args)...)...)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", args, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the password is told: %v", args, err)
		}
	}
}
