package intake

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"footfall/collector/sites"
	"footfall/event"
)

// beacon takes an envelope of events.
func (s *Server) beacon(ctx *fasthttp.RequestCtx, c caller) {
	h := &ctx.Request.Header
	switch {
	case !goodType(h.ContentType()):
		s.refuse(ctx, refusal(event.UnsupportedMediaType,
			"Content-Type has to be text/plain or application/json"))
		return
	case len(h.ContentEncoding()) > 0:
		s.refuse(ctx, refusal(event.UnsupportedMediaType,
			"Content-Encoding is not taken: send plain JSON"))
		return
	}
	body, r := s.bodies.read(ctx, BodyBytesMax)
	if r != nil {
		s.refuse(ctx, r)
		return
	}
	env, r := s.envelope(body)
	if r != nil {
		s.refuse(ctx, r)
		return
	}
	for i := range env.Events {
		e := &env.Events[i]
		e.Transport = transport(e, h.Peek("Sec-Fetch-Mode"))
	}
	s.take(ctx, env, c, func() { ctx.SetStatusCode(fasthttp.StatusNoContent) })
}

// transport tells a fetch from a beacon. The snippet leaves that to the browser, which says
// it where the connection is secure: a beacon has no answer, so its mode is no-cors.
func transport(e *event.Event, mode []byte) string {
	fetched := string(mode) == "cors" || len(mode) == 0 && e.SnippetVersion != ""
	if fetched || e.Transport == event.TransportFetch {
		return event.TransportFetch
	}
	return event.TransportBeacon
}

// envelope gives the body's memory back also when the decoder panics.
func (s *Server) envelope(b *body) (*event.Envelope, *event.Refusal) {
	defer s.bodies.put(b)
	return s.decoder.Envelope(b.bytes)
}

// goodType takes what a page can send without asking first, and JSON. The form type is
// what curl -d says of any body; forms themselves are not read.
func goodType(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	return len(media) == 0 || asciiEqualFold(media, "text/plain") ||
		asciiEqualFold(media, "application/json") ||
		asciiEqualFold(media, "application/x-www-form-urlencoded")
}

// caller is who sends, and when, as far as a request tells.
type caller struct {
	at     time.Time
	site   *sites.Site // known by its secret; else the envelope names it
	secret bool
	client netip.Addr // invalid when it is the site's server, whose address tells nothing
	origin origin
}

func (s *Server) callerOf(ctx *fasthttp.RequestCtx) caller {
	client, _ := s.clientAddress(ctx)
	return caller{at: s.options.Now(), client: client, origin: originOf(&ctx.Request.Header)}
}

// overRate answers 429 to an address that has sent too much, before anything is read.
// Each request counts as one event at first, whatever becomes of it; admit adds the others.
// Who shows a secret is not asked: it cannot be guessed, and a server sends for many.
func (s *Server) overRate(ctx *fasthttp.RequestCtx, c caller) bool {
	if wait := s.addresses.over(c.client, c.at); wait > 0 {
		s.refuse(ctx, refusal(event.AddressRate, "too many requests from one address: send again later"))
		setRetry(ctx, wait)
		return true
	}
	s.addresses.take(c.client, c.at, 1)
	return false
}

// admit finds the site and says whether it takes these events now.
func (s *Server) admit(ctx *fasthttp.RequestCtx, env *event.Envelope, c *caller) bool {
	if c.site == nil {
		c.site = s.options.Sites().Get(env.Site)
	}
	if c.site == nil {
		s.refuse(ctx, refusal(event.UnknownSite,
			fmt.Sprintf("site %.64q is not known here", env.Site)))
		return false
	}
	if r := c.origin.check(c.site); r != nil && !c.secret {
		s.refuseOf(ctx, c.site.Name, r)
		return false
	}
	n := len(env.Events)
	if n > 1 {
		s.addresses.take(c.client, c.at, n-1)
	}
	if wait := s.watch.of(c.site.Name).over(c.at, n, s.rateOf(c.site)); wait > 0 {
		s.refuseOf(ctx, c.site.Name, refusal(event.SiteRate, "too many events of this site: send again later"))
		setRetry(ctx, wait)
		return false
	}
	return true
}

// take stores the good events of an envelope with one Append and answers. thanks
// sets the answer for the case that all were good; nil lists them all.
func (s *Server) take(ctx *fasthttp.RequestCtx, env *event.Envelope, c caller, thanks func()) {
	if !s.admit(ctx, env, &c) {
		return
	}
	b := s.buffers.get()
	s.encode(b, env, c, facts(ctx, env, c))
	watched := s.watch.of(c.site.Name)
	for _, r := range env.Refused {
		s.note(c.site.Name, &r)
	}
	if string(ctx.Request.Header.Peek(dryRunHeader)) == "1" {
		s.dryRun(ctx, b, env)
		return
	}
	if len(b.records) == 0 {
		setRefusal(ctx, &env.Refused[0], s.some(b, env, thanks == nil))
		s.buffers.put(b)
		return
	}
	if !s.append(ctx, b.records, c.site.Name, watched) {
		return // the buffer is Append's for ever
	}
	if s.options.Durability == "memory" {
		ctx.Response.Header.Set(durabilityHeader, "memory")
	}
	s.count.ack.Update(s.options.Now().Sub(c.at).Seconds())
	s.countAccepted(b, env)
	watched.accepted.Add(len(b.records))
	if len(env.Refused) == 0 && thanks != nil {
		thanks()
	} else {
		a := s.some(b, env, thanks == nil)
		a.Accepted = new(len(b.records))
		ctx.SetStatusCode(fasthttp.StatusOK)
		setJSON(ctx, a)
	}
	s.buffers.put(b)
	s.decoder.Release(env)
}

// append stores records, or answers why not.
func (s *Server) append(ctx *fasthttp.RequestCtx, records [][]byte, site string, w *watched) bool {
	err := ErrBusy
	if w.enter() {
		err = s.options.Append(s.life, records)
		w.leave()
	}
	if err != nil {
		s.refuseOf(ctx, site, s.appendRefusal(err))
	}
	return err == nil
}

// some is the answer when not all events were good, or when each has to be told of.
func (s *Server) some(b *buffer, env *event.Envelope, each bool) answer {
	if each {
		return answer{Results: results(b, env)}
	}
	return answer{Refused: refusedOf(env.Refused)}
}

// facts copies what enriching needs out of the request. Of a site's server it tells
// nothing: the events themselves do.
func facts(ctx *fasthttp.RequestCtx, env *event.Envelope, c caller) Facts {
	if c.secret {
		return Facts{Site: c.site}
	}
	h := &ctx.Request.Header
	return Facts{
		Site:           c.site,
		IP:             c.client,
		UserAgent:      env.Keep(h.UserAgent()),
		AcceptLanguage: env.Keep(h.Peek(fasthttp.HeaderAcceptLanguage)),
		GPC:            string(h.Peek("Sec-GPC")) == "1",
		DNT:            string(h.Peek("DNT")) == "1",
	}
}

// encode stamps, enriches and encodes the events into b, and moves those that are
// too large to env.Refused. One body can ask for much more than its own size: the
// envelope's common fields are in every record. RecordsBytesMax ends that.
func (s *Server) encode(b *buffer, env *event.Envelope, c caller, facts Facts) {
	for i := range env.Events {
		e := &env.Events[i]
		e.Stamp(c.at, env.Sent)
		if c.secret {
			facts.IP, facts.UserAgent = takeAddress(e), e.UserAgent
		}
		s.options.Enrich(e, facts)
		from := len(b.bytes)
		b.bytes = e.AppendRecord(b.bytes)
		if r := unfit(e, c, len(b.bytes)-from, len(b.bytes)); r != nil {
			b.bytes = b.bytes[:from]
			r.Index = env.Indexes[i]
			env.Refused = append(env.Refused, *r)
			continue
		}
		b.ends = append(b.ends, len(b.bytes))
		b.taken = append(b.taken, i)
	}
	slices.SortFunc(env.Refused, func(x, y event.Refusal) int { return x.Index - y.Index })
	b.slice()
}

// takeAddress takes the address that a server told out of an event; what the site keeps
// of it, enriching puts back.
func takeAddress(e *event.Event) netip.Addr {
	a, ok := parseForwarded(e.IP)
	if e.IP != "" && !ok {
		e.Sanitised++
	}
	e.IP = ""
	return a
}

// unfit refuses an event by what is known of it in the end: bytes of its record, and of
// all records so far.
func unfit(e *event.Event, c caller, bytes, all int) *event.Refusal {
	switch {
	case bytes > event.EventBytesMax:
		return refusal(event.EventTooLarge, fmt.Sprintf("the record has %d bytes, at most %d fit",
			bytes, event.EventBytesMax))
	case all > RecordsBytesMax:
		return refusal(event.EventTooLarge, fmt.Sprintf(
			"the envelope's records have more than %d bytes", RecordsBytesMax))
	case e.Bot && c.site.Bots == sites.BotsRefuse:
		return refusal(event.BotRefused, fmt.Sprintf("site %q takes no events of programs: %s",
			c.site.Name, strings.Join(e.BotReasons, ", ")))
	case !c.secret:
		return c.origin.checkEvent(c.site, e)
	}
	return nil
}

func (s *Server) countAccepted(b *buffer, env *event.Envelope) {
	sanitised := 0
	for _, i := range b.taken {
		s.count.accepted[env.Events[i].Transport].Inc()
		sanitised += env.Events[i].Sanitised
	}
	s.count.sanitised.Add(sanitised)
}

func (s *Server) dryRun(ctx *fasthttp.RequestCtx, b *buffer, env *event.Envelope) {
	a := answer{Accepted: new(len(b.records)), Refused: refusedOf(env.Refused), Client: s.addressOf(ctx)}
	for _, record := range b.records {
		_, value := event.SplitRecord(record)
		a.Events = append(a.Events, value)
	}
	ctx.SetStatusCode(fasthttp.StatusOK)
	setJSON(ctx, a)
}

// buffer holds the records of one request, one behind the other.
type buffer struct {
	bytes   []byte
	ends    []int // of each record in bytes
	taken   []int // of each record, the place of its event in the envelope
	records [][]byte
}

// slice cuts the records once bytes does not grow any more.
func (b *buffer) slice() {
	from := 0
	for _, end := range b.ends {
		b.records = append(b.records, b.bytes[from:end:end])
		from = end
	}
}

// buffers keeps buffers for reuse, but no large ones: one big envelope must not
// hold its megabyte for ever.
type buffers struct{ pool sync.Pool }

const keptBytesMax = 64 << 10

func (p *buffers) get() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{}
}

func (p *buffers) put(b *buffer) {
	if cap(b.bytes) > keptBytesMax {
		return
	}
	clear(b.records)
	b.bytes, b.ends, b.taken, b.records = b.bytes[:0], b.ends[:0], b.taken[:0], b.records[:0]
	p.pool.Put(b)
}
