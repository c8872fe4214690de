package intake

import (
	"bytes"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

// The paths, matched byte by byte: nothing is decoded or normalised first, so
// that a proxy's rules and ours cannot mean different things.
const (
	beaconPath = "/e"
	pixelPath  = "/p.gif"
	apiPath    = "/api/events"
)

// route is one path: what it takes and who answers.
type route struct {
	allow  string // the header's value
	answer func(*Server, *fasthttp.RequestCtx, caller)
}

var (
	beaconRoute = route{"POST, OPTIONS", (*Server).beacon}
	pixelRoute  = route{"GET, OPTIONS", (*Server).pixel}
	apiRoute    = route{"POST, OPTIONS", (*Server).api}
	scriptRoute = route{"GET, HEAD, OPTIONS", (*Server).script}
)

// Handler answers one request; Serve calls it.
func (s *Server) Handler(ctx *fasthttp.RequestCtx) {
	defer poison(ctx)
	defer s.contain(ctx)
	s.setCORS(ctx)
	bad := s.checkRequest(ctx)
	if bad != nil {
		ctx.SetConnectionClose() // whoever speaks like this may have more to smuggle
	}
	r, c := s.route(ctx), s.callerOf(ctx)
	if r == &apiRoute {
		c.site = s.secretSite(&ctx.Request.Header)
	}
	if c.site == nil && s.overRate(ctx, c) {
		return
	}
	method := string(ctx.Method())
	switch {
	case bad != nil:
		s.refuse(ctx, bad)
	case r == nil:
		s.refuse(ctx, refusal(event.NotFound, elsewhere(ctx.Request.Header.RequestURI())))
	case method == fasthttp.MethodOptions:
		preflight(ctx, r.allow)
	case !strings.Contains(r.allow, method):
		ctx.Response.Header.Set(fasthttp.HeaderAllow, r.allow)
		s.refuse(ctx, refusal(event.MethodNotAllowed, "this path takes "+r.allow))
	default:
		r.answer(s, ctx, c)
	}
}

// elsewhere says what is wrong with a path that leads nowhere.
func elsewhere(uri []byte) string {
	path, _, _ := bytes.Cut(uri, []byte("?"))
	if bytes.HasSuffix(path, []byte(".js")) {
		return "no such snippet: /f.js is the one of now; with --pinned a collector keeps those of older versions"
	}
	return "this is a Footfall collector: POST /e, GET /p.gif, GET /f.js, POST /api/events"
}

func (s *Server) route(ctx *fasthttp.RequestCtx) *route {
	path, _, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	switch string(path) {
	case beaconPath:
		return &beaconRoute
	case pixelPath:
		return &pixelRoute
	case apiPath:
		return &apiRoute
	case "/":
		return nil
	}
	switch name := path[1:]; string(name) { // an installation's own
	case s.options.Beacon:
		return &beaconRoute
	case s.options.Pixel:
		return &pixelRoute
	}
	if bytes.HasSuffix(path, []byte(".js")) {
		if _, ok := s.options.Scripts(string(path[1:])); ok {
			return &scriptRoute
		}
	}
	return nil
}

// contain keeps a bug of ours to the one request that met it.
func (s *Server) contain(ctx *fasthttp.RequestCtx) {
	cause := recover()
	if cause == nil {
		return
	}
	s.options.Logger.Error("request panicked", slog.Any("cause", cause),
		slog.String("stack", string(debug.Stack())))
	ctx.Response.Reset()
	s.setCORS(ctx)
	ctx.SetConnectionClose()
	s.refuse(ctx, refusal(event.Internal, "this is a bug of the collector and was counted"))
}

// checkRequest refuses what fasthttp lets pass although proxies read it in more
// than one way.
func (s *Server) checkRequest(ctx *fasthttp.RequestCtx) *event.Refusal {
	h := &ctx.Request.Header
	if p := string(h.Protocol()); p != "HTTP/1.1" && p != "HTTP/1.0" {
		return refusal(event.VersionNotSupported, "protocol has to be HTTP/1.1 or HTTP/1.0")
	}
	switch string(h.Method()) {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions:
		if hasBody(&ctx.Request) {
			return refusal(event.BadRequest, "only POST carries a body")
		}
	case fasthttp.MethodPost:
	default:
		ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, HEAD, POST, OPTIONS")
		return refusal(event.MethodNotAllowed, "methods are GET, HEAD, POST and OPTIONS")
	}
	if uri := h.RequestURI(); len(uri) == 0 || uri[0] != '/' {
		return refusal(event.BadRequest, "request target has to begin with a slash")
	}
	if !goodHost(h.Host()) {
		return refusal(event.BadRequest, "Host has to be a name or an address with a port or without")
	}
	if !s.isOurs(h.Host()) {
		return refusal(event.MisdirectedRequest, "this collector is not reached under that Host")
	}
	expect := h.Peek(fasthttp.HeaderExpect)
	if len(expect) > 0 && !asciiEqualFold(expect, "100-continue") {
		return refusal(event.ExpectationFailed, "Expect can only be 100-continue")
	}
	return checkHeaders(h.RawHeaders())
}

// expect answers Expect: 100-continue. A body whose declared length is too large need not
// be sent; all else the handler decides, who knows more by then.
func (s *Server) expect(ctx *fasthttp.RequestCtx) (status int) {
	status = fasthttp.StatusInternalServerError
	defer s.contain(ctx)
	limit := BodyBytesMax
	if s.route(ctx) == &apiRoute {
		limit = APIBytesMax
	}
	if ctx.Request.Header.ContentLength() <= limit {
		return fasthttp.StatusContinue
	}
	s.setCORS(ctx)
	s.refuse(ctx, unreadable(fasthttp.ErrBodyTooLarge, limit))
	return ctx.Response.StatusCode()
}

func hasBody(r *fasthttp.Request) bool {
	if r.IsBodyStream() {
		return r.Header.ContentLength() != 0 // below: chunked
	}
	return len(r.Body()) > 0
}

// checkHeaders refuses folded lines, names that are no tokens, and a body whose
// length is told twice or in a way of its own.
func checkHeaders(raw []byte) *event.Refusal {
	lengths := 0
	for len(raw) > 0 {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !token(name) {
			return refusal(event.BadRequest, "a header's name is no token, or its line is folded")
		}
		coded := asciiEqualFold(name, "transfer-encoding")
		if coded && !asciiEqualFold(bytes.TrimSpace(value), "chunked") {
			// fasthttp takes identity for no body, and the body for the next request.
			return refusal(event.BadRequest, "Transfer-Encoding can only be chunked")
		}
		if coded || asciiEqualFold(name, "content-length") {
			lengths++
		}
	}
	if lengths > 1 {
		return refusal(event.BadRequest, "Content-Length and Transfer-Encoding stand together")
	}
	return nil
}

// goodHost takes letters, digits and what addresses consist of. HTTP/1.0 may leave
// Host out.
func goodHost(host []byte) bool {
	for _, c := range host {
		if !alphanumeric(c) && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return true
}

// isOurs reports whether Host is one of the names that the collector answers under.
func (s *Server) isOurs(host []byte) bool {
	if len(s.options.Hosts) == 0 {
		return true
	}
	name := strings.ToLower(string(host))
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, ']') {
		name = name[:i]
	}
	return slices.Contains(s.options.Hosts, name)
}

// token reports whether b is one by RFC 9110.
func token(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenBytes = func() (set [256]bool) {
	for c := range set {
		set[c] = alphanumeric(byte(c)) || c > 0 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return set
}()

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func asciiEqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
