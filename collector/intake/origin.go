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
// It is the header as it came, the request's own memory; without one each event's url
// has to tell.
type origin []byte

func originOf(h *fasthttp.RequestHeader) origin {
	if o := h.Peek(fasthttp.HeaderOrigin); len(o) > 0 {
		return o
	}
	return h.Referer()
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
	if len(o) == 0 || len(site.Hostnames) == 0 {
		return nil
	}
	host := hostOf(string(o)) // "null" of a page that has none to tell
	if site.Allows(host) {
		return nil
	}
	return originRefusal(site, host)
}

// checkEvent does the same by the event's url. A mail has no page.
func (o origin) checkEvent(site *sites.Site, e *event.Event) *event.Refusal {
	mail := e.Type == event.EmailOpen || e.Type == event.EmailClick
	if len(o) > 0 || mail && e.Hostname == "" || site.Allows(e.Hostname) {
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
