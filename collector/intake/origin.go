package intake

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"footfall/collector/sites"
	"footfall/event"
)

// origin is the host of the page that a request says it comes from. A browser tells it
// in Origin or Referer and no page can change that; a program can, hence this keeps
// other pages out and not programs.
type origin struct {
	host string // "null" of a page that has none to tell
	told bool   // else each event's url has to tell
}

func originOf(h *fasthttp.RequestHeader) origin {
	if o := h.Peek(fasthttp.HeaderOrigin); len(o) > 0 {
		return origin{hostOf(string(o)), true}
	}
	if r := h.Referer(); len(r) > 0 {
		return origin{hostOf(string(r)), true}
	}
	return origin{}
}

func hostOf(s string) string {
	if s == "null" {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

// check refuses a request from a page that is none of the site's.
func (o origin) check(site *sites.Site) *event.Refusal {
	if !o.told || site.Allows(o.host) {
		return nil
	}
	return originRefusal(site, o.host)
}

// checkEvent does the same by the event's url. A mail has no page.
func (o origin) checkEvent(site *sites.Site, e *event.Event) *event.Refusal {
	mail := e.Type == event.EmailOpen || e.Type == event.EmailClick
	if o.told || mail && e.Hostname == "" || site.Allows(e.Hostname) {
		return nil
	}
	return originRefusal(site, e.Hostname)
}

func originRefusal(site *sites.Site, host string) *event.Refusal {
	if host == "" {
		return refusal(event.OriginNotAllowed, fmt.Sprintf("neither Origin, Referer nor url tells "+
			"the page, and site %q takes events of its own hostnames only", site.Name))
	}
	return refusal(event.OriginNotAllowed,
		fmt.Sprintf("%.255q is none of the hostnames of site %q", host, site.Name))
}
