package intake

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"footfall/event"
)

// ackBounds go from an fsync of a fast disk to the time after which senders give up.
var ackBounds = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// counters are made once, so that the series exist from the start and counting
// takes no lookup by name.
type counters struct {
	// accepted counts events that are on disk.
	accepted map[string]*metrics.Counter
	// refused counts refused events, and requests that were refused as a whole.
	refused map[event.Reason]*metrics.Counter
	// ack is how long an accepted request took, from its headers to its answer: enriching,
	// waiting for the fsync that it shares, and the fsync.
	ack *metrics.PrometheusHistogram
	// sanitised counts values that were changed to be storable or left out.
	sanitised *metrics.Counter
	// turnedAway counts connections that did not come in; their refusals are among refused.
	turnedAway *metrics.Counter
	// forwarded counts X-Forwarded-For headers of trusted peers that made no sense.
	forwarded *metrics.Counter
}

func newCounters(set *metrics.Set, http *fasthttp.Server) counters {
	c := counters{
		accepted:   map[string]*metrics.Counter{},
		refused:    map[event.Reason]*metrics.Counter{},
		ack:        set.NewPrometheusHistogramExt("footfall_ack_seconds", ackBounds),
		sanitised:  set.NewCounter("footfall_sanitised_total"),
		turnedAway: set.NewCounter("footfall_refused_connections_total"),
		forwarded:  set.NewCounter("footfall_bad_forwarded_total"),
	}
	for _, t := range []string{event.TransportBeacon, event.TransportFetch, event.TransportPixel,
		event.TransportAPI} {
		c.accepted[t] = set.NewCounter(fmt.Sprintf("footfall_accepted_total{transport=%q}", t))
	}
	for reason := range statuses {
		c.refused[reason] = set.NewCounter(fmt.Sprintf("footfall_refused_total{reason=%q}", reason))
	}
	set.NewGauge("footfall_connections", func() float64 {
		return float64(http.GetOpenConnectionsCount())
	})
	return c
}
