//go:build race

package intake

import "github.com/valyala/fasthttp"

// poison overwrites what fasthttp will use again for the next request, so that tests
// under the race detector see who kept a part of it beyond the handler.
func poison(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	for name, value := range h.All() {
		if string(name) != fasthttp.HeaderConnection { // that one is a constant of fasthttp's
			spoil(value)
		}
	}
	spoil(h.RequestURI())
}

// spoil does it to the memory of a body.
func spoil(b []byte) {
	for i := range b {
		b[i] = '!'
	}
}
