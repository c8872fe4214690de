package intake

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

// beacon takes an envelope of events.
func (s *Server) beacon(ctx *fasthttp.RequestCtx) {
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
	case len(ctx.PostBody()) > BodyBytesMax:
		s.refuse(ctx, bodyTooLarge())
		return
	}
	env, r := s.decoder.Envelope(ctx.PostBody())
	if r != nil {
		s.refuse(ctx, r)
		return
	}
	for i := range env.Events {
		if e := &env.Events[i]; e.Transport != event.TransportFetch {
			e.Transport = event.TransportBeacon
		}
	}
	s.take(ctx, env, func() { ctx.SetStatusCode(fasthttp.StatusNoContent) })
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

// take stores the good events of an envelope with one Append and answers. thanks
// sets the answer for the case that all were good.
func (s *Server) take(ctx *fasthttp.RequestCtx, env *event.Envelope, thanks func()) {
	if env.Site == "" || !s.options.Sites(env.Site) {
		s.refuse(ctx, refusal(event.UnknownSite, fmt.Sprintf("site %q is not known here", env.Site)))
		return
	}
	b := s.buffers.get()
	s.encode(b, env, s.facts(ctx))
	for _, r := range env.Refused {
		s.count.refused[r.Reason].Inc()
	}
	if string(ctx.Request.Header.Peek(dryRunHeader)) == "1" {
		dryRun(ctx, b, env)
		return
	}
	if len(b.records) == 0 {
		refuseAll(ctx, env.Refused)
		s.buffers.put(b)
		return
	}
	if err := s.options.Append(s.life, b.records); err != nil {
		s.refuse(ctx, s.appendRefusal(err)) // the buffer is Append's for ever
		return
	}
	s.countAccepted(b, env)
	n := len(b.records)
	s.buffers.put(b)
	if len(env.Refused) == 0 {
		thanks()
		return
	}
	ctx.SetStatusCode(fasthttp.StatusOK)
	setJSON(ctx, answer{Accepted: new(n), Refused: list(env.Refused)})
}

// facts copies what enriching needs out of the request.
func (s *Server) facts(ctx *fasthttp.RequestCtx) Facts {
	h := &ctx.Request.Header
	return Facts{
		IP:             s.clientAddress(ctx),
		UserAgent:      string(h.UserAgent()),
		AcceptLanguage: string(h.Peek(fasthttp.HeaderAcceptLanguage)),
		GPC:            string(h.Peek("Sec-GPC")) == "1",
	}
}

// encode stamps, enriches and encodes the events into b, and moves those that are
// too large to env.Refused. One body can ask for much more than its own size: the
// envelope's common fields are in every record. RecordsBytesMax ends that.
func (s *Server) encode(b *buffer, env *event.Envelope, facts Facts) {
	received := s.options.Now()
	for i := range env.Events {
		e := &env.Events[i]
		e.Stamp(received, env.Sent)
		s.options.Enrich(e, facts)
		from := len(b.bytes)
		b.bytes = e.AppendRecord(b.bytes)
		detail := ""
		if n := len(b.bytes) - from; n > event.EventBytesMax {
			detail = fmt.Sprintf("the record has %d bytes, at most %d fit", n, event.EventBytesMax)
		} else if len(b.bytes) > RecordsBytesMax {
			detail = fmt.Sprintf("the envelope's records have more than %d bytes", RecordsBytesMax)
		}
		if detail != "" {
			b.bytes = b.bytes[:from]
			env.Refused = append(env.Refused,
				event.Refusal{Index: env.Indexes[i], Reason: event.EventTooLarge, Detail: detail})
			continue
		}
		b.ends = append(b.ends, len(b.bytes))
		b.taken = append(b.taken, i)
	}
	slices.SortFunc(env.Refused, func(x, y event.Refusal) int { return x.Index - y.Index })
	b.slice()
}

func (s *Server) countAccepted(b *buffer, env *event.Envelope) {
	sanitised := 0
	for _, i := range b.taken {
		s.count.accepted[env.Events[i].Transport].Inc()
		sanitised += env.Events[i].Sanitised
	}
	s.count.sanitised.Add(sanitised)
}

func dryRun(ctx *fasthttp.RequestCtx, b *buffer, env *event.Envelope) {
	a := answer{Accepted: new(len(b.records)), Refused: list(env.Refused)}
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
