package intake

import (
	"github.com/valyala/fasthttp"
)

const (
	reasonHeader     = "X-Footfall-Reason"
	dryRunHeader     = "X-Footfall-Dry-Run"
	durabilityHeader = "X-Footfall-Durability"
)

// setCORS lets every page read the answer. That is safe because no answer depends
// on who asks: there are no cookies and no credentials here.
func (s *Server) setCORS(ctx *fasthttp.RequestCtx) {
	for _, h := range everyAnswer {
		ctx.Response.Header.SetCanonical(h.name, h.value)
	}
}

// everyAnswer is what all answers have. As bytes with canonical names, because each
// request pays for making them so.
var everyAnswer = [...]struct{ name, value []byte }{
	{[]byte(fasthttp.HeaderAccessControlAllowOrigin), []byte("*")},
	{[]byte(fasthttp.HeaderAccessControlExposeHeaders), []byte(reasonHeader + ", " + durabilityHeader + ", Retry-After")},
	{[]byte("Cross-Origin-Resource-Policy"), []byte("cross-origin")}, // for pages with COEP
	{[]byte(fasthttp.HeaderCacheControl), []byte("no-store")},
	{[]byte(fasthttp.HeaderXContentTypeOptions), []byte("nosniff")},
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
