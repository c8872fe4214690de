package intake

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/collector/sites"
)

const (
	seriesMax    = 500     // sites with counters of their own; the others share some
	othersSeries = "other" // their label
	siteShare    = 8192    // appends of one site that may wait for the disk: half the spool's
)

// watched is what the server remembers of one site. A site that a new file no longer
// has keeps its series: counters that vanish are worse than some that rest.
type watched struct {
	accepted, refused *metrics.Counter
	waiting           atomic.Int64 // appends
	owes              atomic.Int64 // a debt
}

// watch is all of them. It is safe for concurrent use.
type watch struct {
	set   *metrics.Set
	mu    sync.RWMutex
	sites map[string]*watched
}

func newWatch(set *metrics.Set) *watch {
	return &watch{set: set, sites: map[string]*watched{}}
}

// of returns what is remembered of a site. Only names of sites that are known may get
// here, and "": a stranger must not be able to fill the memory.
func (w *watch) of(site string) *watched {
	w.mu.RLock()
	s := w.sites[site]
	w.mu.RUnlock()
	if s != nil {
		return s
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sites[site]; s != nil {
		return s
	}
	label := site
	if len(w.sites) >= seriesMax {
		label = othersSeries
	}
	s = &watched{
		accepted: w.set.GetOrCreateCounter(fmt.Sprintf("footfall_site_accepted_total{site=%q}", label)),
		refused:  w.set.GetOrCreateCounter(fmt.Sprintf("footfall_site_refused_total{site=%q}", label)),
	}
	w.sites[site] = s
	return s
}

// over reports how long the site has to wait by its rate (0: no limit), and counts n
// events when it has not.
func (s *watched) over(now time.Time, n int, rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	for {
		owed := s.owes.Load()
		if wait := debt(owed).over(now); wait > 0 {
			return wait
		}
		if s.owes.CompareAndSwap(owed, int64(debt(owed).with(now, n, rate))) {
			return 0
		}
	}
}

// enter takes one of the site's places in front of the disk, so that a flood of one
// site leaves the others theirs. leave gives it back.
func (s *watched) enter() bool {
	if s.waiting.Add(1) > siteShare {
		s.waiting.Add(-1)
		return false
	}
	return true
}

func (s *watched) leave() { s.waiting.Add(-1) }

// rateOf is how many events a second a site may send; 0 for no limit.
func (s *Server) rateOf(site *sites.Site) float64 {
	if site.Rate > 0 {
		return site.Rate
	}
	return s.options.SiteRate
}
