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

		"--database-url postgres: --into again --from 3h --to 2h":         "",
		"--database-url postgres: --into a.again --from 0:12,3:0":         "",
		"--database-url postgres: --into again --to 2026-01-31T12:00:00Z": "",
		"--database-url postgres: --into again --from 2h --to 3h":         "--from is after --to",
		"--database-url postgres: --into again --from 12":                 "nor offsets like 0:1200,3:0",
		"--database-url postgres: --into again --to 0:1,0:2":              "not a list of offsets",
		"--database-url postgres: --into footfall.again":                  "into: the schema footfall is the sink's own",
		"--database-url postgres: --from 3h":                              "give --into",
		"--mongo-url mongodb://h --into again":                            "give --database-url",
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
