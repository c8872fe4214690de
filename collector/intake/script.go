package intake

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// Script is the snippet. The slices are served as they are and must not change.
type Script struct {
	Body []byte
	Gzip []byte // the same, compressed; empty for none
	Hash string // of Body, in letters and digits; names the frozen path
}

// scripts are the paths under which there is a snippet.
type scripts struct {
	Script
	etag, frozenPath string
}

func newScripts(s Script) scripts {
	out := scripts{Script: s, etag: `"` + s.Hash + `"`}
	if s.Hash != "" {
		out.frozenPath = "/f." + s.Hash + ".js"
	}
	return out
}

func (s *scripts) has(path []byte) bool {
	return len(s.Body) > 0 && (string(path) == scriptPath || string(path) == s.frozenPath)
}

// script serves the snippet. /f.js is asked for again after an hour and, in the
// background, used for a day more; the frozen path never changes, so that a page
// can pin it with an integrity attribute.
func (s *Server) script(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/javascript; charset=utf-8")
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	if strings.HasPrefix(string(ctx.Request.Header.RequestURI()), scriptPath) {
		h.Set(fasthttp.HeaderCacheControl, "public, max-age=3600, stale-while-revalidate=86400")
	} else {
		h.Set(fasthttp.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	if s.scripts.Hash != "" {
		h.Set(fasthttp.HeaderETag, s.scripts.etag)
		if strings.Contains(string(ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)), s.scripts.etag) {
			ctx.SetStatusCode(fasthttp.StatusNotModified)
			return
		}
	}
	if len(s.scripts.Gzip) > 0 && ctx.Request.Header.HasAcceptEncoding("gzip") {
		h.Set(fasthttp.HeaderContentEncoding, "gzip")
		ctx.Response.SetBodyRaw(s.scripts.Gzip)
		return
	}
	ctx.Response.SetBodyRaw(s.scripts.Body)
}
