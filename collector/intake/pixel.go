package intake

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

// gif is one transparent pixel.
const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" +
	"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// pixel takes the events of the query. A refusal is no image, so that the page's
// onerror runs. HEAD is refused: it would have to count or not to count, and
// whoever asks gets no picture either way.
func (s *Server) pixel(ctx *fasthttp.RequestCtx, c caller) {
	_, query, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	env, r := s.decoder.Query(query)
	if r != nil {
		s.refuse(ctx, r)
		return
	}
	for i := range env.Events {
		e := &env.Events[i]
		e.Transport = event.TransportPixel
		if e.URL == "" {
			e.URL = e.Clean("url", e.Keep(ctx.Request.Header.Referer()))
		}
	}
	s.take(ctx, env, c, func() {
		ctx.SetContentType("image/gif")
		ctx.SetBodyString(gif)
	})
}
