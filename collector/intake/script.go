package intake

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// Script is a file of the snippet. The slices are served as they are and must not change.
type Script struct {
	Body []byte
	// The same, compressed; empty for none.
	Gzip, Brotli, Zstd []byte
	Hash               string // of Body, in letters and digits
	Frozen             bool   // its name has the hash in it: what is there never changes
}

// script serves a file of the snippet. A name that is moved on with each version is
// asked for again after an hour and, in the background, used for a day more; a frozen
// one never changes, so that a page can pin it with an integrity attribute.
func (s *Server) script(ctx *fasthttp.RequestCtx, _ caller) {
	name, _, _ := strings.Cut(string(ctx.Request.Header.RequestURI()), "?")
	script, _ := s.options.Scripts(strings.TrimPrefix(name, "/"))
	h := &ctx.Response.Header
	h.SetContentType("text/javascript; charset=utf-8")
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	if script.Frozen {
		h.Set(fasthttp.HeaderCacheControl, "public, max-age=31536000, immutable")
	} else {
		h.Set(fasthttp.HeaderCacheControl, "public, max-age=3600, stale-while-revalidate=86400")
	}
	etag := `"` + script.Hash + `"`
	h.Set(fasthttp.HeaderETag, etag)
	if strings.Contains(string(ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)), etag) {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	for _, c := range []struct {
		name string
		body []byte
	}{{"br", script.Brotli}, {"zstd", script.Zstd}, {"gzip", script.Gzip}} {
		if len(c.body) > 0 && ctx.Request.Header.HasAcceptEncoding(c.name) {
			h.Set(fasthttp.HeaderContentEncoding, c.name)
			ctx.Response.SetBodyRaw(c.body)
			return
		}
	}
	ctx.Response.SetBodyRaw(script.Body)
}
