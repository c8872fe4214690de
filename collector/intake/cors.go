package intake

import (
	"github.com/valyala/fasthttp"
)

const (
	reasonHeader = "X-Footfall-Reason"
	dryRunHeader = "X-Footfall-Dry-Run"
)

// setCORS lets every page read the answer. That is safe because no answer depends
// on who asks: there are no cookies and no credentials here.
func (s *Server) setCORS(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, "*")
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, reasonHeader+", Retry-After")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // for pages with COEP
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
}

// preflight permits what a page with its own headers may send. The snippet needs
// none: text/plain asks for no permission.
func preflight(ctx *fasthttp.RequestCtx, allow string) {
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowMethods, allow)
	h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Content-Type, "+dryRunHeader)
	h.Set(fasthttp.HeaderAccessControlMaxAge, "7200") // the most that Chrome keeps it
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}
