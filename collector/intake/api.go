package intake

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"footfall/collector/sites"
	"footfall/event"
)

// APIBytesMax bounds what a server sends at once, before and after decompression.
const APIBytesMax = 1 << 20

// api takes events from a server that has its site's secret.
func (s *Server) api(ctx *fasthttp.RequestCtx, c caller) {
	site := c.site
	if site == nil {
		s.addresses.takeSecond(c.client, c.at)
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		ctx.SetConnectionClose() // a body of any size may be behind this
		s.refuse(ctx, refusal(event.BadSecret, "send the site's secret, as `footfall secret` "+
			"made it: Authorization: Bearer ffs_…"))
		return
	}
	body, r := s.apiBody(ctx)
	if r == nil {
		var env *event.Envelope
		env, r = s.decoder.Server(body.bytes, ndjson(&ctx.Request.Header))
		s.bodies.put(body)
		if r == nil {
			r = s.ownEvents(site, env)
			if r == nil {
				s.take(ctx, env, caller{at: c.at, site: site, secret: true}, nil)
				return
			}
		}
	}
	s.refuseOf(ctx, site.Name, r)
}

// secretSite returns the site that the request's secret belongs to, nil without one.
func (s *Server) secretSite(h *fasthttp.RequestHeader) *sites.Site {
	scheme, secret, ok := bytes.Cut(h.Peek(fasthttp.HeaderAuthorization), []byte(" "))
	if !ok || !asciiEqualFold(scheme, "bearer") {
		return nil
	}
	return s.options.Sites().BySecret(bytes.TrimSpace(secret))
}

func ndjson(h *fasthttp.RequestHeader) bool {
	media, _, _ := bytes.Cut(h.ContentType(), []byte(";"))
	media = bytes.TrimSpace(media)
	return asciiEqualFold(media, "application/x-ndjson") || asciiEqualFold(media, "application/jsonl")
}

// apiBody is read only after the secret was seen: nobody else may send much.
func (s *Server) apiBody(ctx *fasthttp.RequestCtx) (*body, *event.Refusal) {
	h := &ctx.Request.Header
	if !goodType(h.ContentType()) && !ndjson(h) {
		return nil, refusal(event.UnsupportedMediaType,
			"Content-Type has to be application/json or application/x-ndjson")
	}
	zipped := len(h.ContentEncoding()) > 0
	if zipped && !asciiEqualFold(h.ContentEncoding(), "gzip") {
		return nil, refusal(event.UnsupportedMediaType, "Content-Encoding can only be gzip")
	}
	b, r := s.bodies.read(ctx, APIBytesMax)
	if r != nil || !zipped {
		return b, r
	}
	defer s.bodies.put(b)
	return s.bodies.unzip(b, APIBytesMax)
}

// ownEvents moves events that name another site, or a time without a place in the
// store, to the refused ones.
func (s *Server) ownEvents(site *sites.Site, env *event.Envelope) *event.Refusal {
	if env.Site != "" && env.Site != site.Name {
		return refusal(event.UnknownSite, "the secret belongs to site \""+site.Name+"\"")
	}
	env.Site = site.Name
	events, indexes := env.Events[:0], env.Indexes[:0]
	for i := range env.Events {
		e := env.Events[i]
		r := e.CheckTime(s.options.Now())
		if e.Site != "" && e.Site != site.Name {
			r = refusal(event.UnknownSite, "the secret belongs to site \""+site.Name+"\"")
		}
		if r != nil {
			r.Index = env.Indexes[i]
			env.Refused = append(env.Refused, *r)
			continue
		}
		e.Site, e.Transport = site.Name, event.TransportAPI
		events, indexes = append(events, e), append(indexes, env.Indexes[i])
	}
	env.Events, env.Indexes = events, indexes
	return nil
}

// result is the answer to one event: its id, or why it was refused.
type result struct {
	EventID string       `json:"event_id,omitempty"`
	Reason  event.Reason `json:"reason,omitempty"`
	Detail  string       `json:"detail,omitempty"`
}

// results lists every event of the request in its order.
func results(b *buffer, env *event.Envelope) []result {
	out := make([]result, len(b.taken)+len(env.Refused))
	for _, i := range b.taken {
		out[env.Indexes[i]] = result{EventID: env.Events[i].EventID.String()}
	}
	for _, r := range env.Refused {
		out[max(r.Index, 0)] = result{Reason: r.Reason, Detail: r.Detail}
	}
	return out
}
