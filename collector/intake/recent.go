package intake

import (
	"container/list"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"footfall/event"
)

const (
	refusalsKept    = 64   // of each site
	refusalsKeptAll = 8192 // of all sites together: 4 MiB at most
	detailMax       = 200  // bytes of a kept detail
)

// Refused is one refusal, as its site's owner may want to see it. It tells nothing of
// the visitor.
type Refused struct {
	At     time.Time    `json:"at"`
	Site   string       `json:"site,omitempty"` // "" when it was not known
	Reason event.Reason `json:"reason"`
	Detail string       `json:"detail"`
}

// recent keeps the newest refusals of each site, and of all sites together as many as fit:
// a site that is refused much takes nothing from the others, only very many sites do. The
// zero value is ready; it is safe for concurrent use.
type recent struct {
	mu  sync.Mutex
	all list.List                  // of *Refused, the oldest first
	of  map[string][]*list.Element // the same by site
}

// note keeps r, in the place of an older one when there is no other.
func (k *recent) note(r Refused) {
	r.Detail = cut(r.Detail)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = map[string][]*list.Element{}
	}
	var e *list.Element
	switch mine := k.of[r.Site]; {
	case len(mine) == refusalsKept:
		e = k.forget(r.Site)
	case k.all.Len() == refusalsKeptAll:
		e = k.forget(k.all.Front().Value.(*Refused).Site)
	default:
		e = k.all.PushBack(new(Refused))
	}
	*e.Value.(*Refused) = r
	k.all.MoveToBack(e)
	k.of[r.Site] = append(k.of[r.Site], e)
}

// forget gives up a site's oldest, for its place.
func (k *recent) forget(site string) *list.Element {
	mine := k.of[site]
	e := mine[0]
	if len(mine) == 1 {
		delete(k.of, site)
	} else {
		k.of[site] = mine[:copy(mine, mine[1:])]
	}
	return e
}

// list returns the newest refusals of a site, or of all for "", the newest first.
func (k *recent) list(site string) []Refused {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := []Refused{}
	for e := k.all.Back(); e != nil && len(out) < refusalsKept; e = e.Prev() {
		if r := e.Value.(*Refused); site == "" || r.Site == site {
			out = append(out, *r)
		}
	}
	return out
}

// cut shortens a detail at the end of a letter, and lets go of the rest.
func cut(detail string) string {
	if len(detail) <= detailMax {
		return detail
	}
	n := detailMax
	for n > 0 && !utf8.RuneStart(detail[n]) {
		n--
	}
	return strings.Clone(detail[:n])
}

// Refusals returns the newest refusals of a site, the newest first: 64 at most. With
// "" they are those of all sites and of requests whose site was not known.
func (s *Server) Refusals(site string) []Refused { return s.recent.list(site) }
