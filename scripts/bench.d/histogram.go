package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// histogram is a metric's: how often a value was in a bucket, by the bucket's upper end.
type histogram map[float64]float64

var bucketLine = regexp.MustCompile(`^footfall_freshness_seconds_bucket\{vmrange="[^.]+(?:\.\d+e[+-]\d+)?\.\.\.([^"]+)"\} (\d+)$`)

// metric reads the sink's freshness.
func (p *path) metric(ctx context.Context) (histogram, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	h := histogram{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if m := bucketLine.FindStringSubmatch(lines.Text()); m != nil {
			upper, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return nil, fmt.Errorf("read metric: %w", err)
			}
			h[upper], _ = strconv.ParseFloat(m[2], 64)
		}
	}
	return h, lines.Err()
}

// since is the quantile of what came after an earlier reading: the upper end of its bucket,
// which is at most a seventh too much.
func (h histogram) since(earlier histogram, q float64) float64 {
	var ends []float64
	all := 0.0
	for end, n := range h {
		ends = append(ends, end)
		all += n - earlier[end]
	}
	slices.Sort(ends)
	sum := 0.0
	for _, end := range ends {
		if sum += h[end] - earlier[end]; sum > 0 && sum >= q*all {
			return end
		}
	}
	return 0
}
