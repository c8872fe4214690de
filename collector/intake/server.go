// Package intake is the collector's public door: it speaks HTTP with strangers
// and turns what they send into records, or into a refusal with a reason.
//
//	POST /e             a beacon: one envelope of events, JSON as text/plain
//	GET  /p.gif         a pixel: one event in the query, answered by a 43-byte GIF
//	GET  /f.js          the snippet, and the other files of Options.Scripts
//	POST /api/events    events of a server that has its site's secret; openapi.yaml
//	                    describes it
//	OPTIONS             a preflight on any of them
//
// A 2xx to an event means that Append has returned: the record is on disk. All
// else is an error with a status, the header X-Footfall-Reason and a JSON body,
// {"reason","detail"}; reasons are the closed set of package event, and each
// refusal counts in footfall_refused_total{reason}. Of an envelope whose events
// are partly bad the good ones are stored and the answer is 200 with the list of
// the others. The header X-Footfall-Dry-Run: 1 answers with the events as they
// would be stored, and stores nothing.
//
// Nothing a sender does may reach further than its own request: sizes, times and
// connections are bounded, a panic is contained, counted and answered with 500.
// So are rates, of one address and of one site, and the share of the disk's queue that
// one site may have: a flood gets 429 or 503 with Retry-After, the others do not notice.
//
// fasthttp reuses a request's memory as soon as its handler returns. No byte of
// it leaves this package: events hold copies, and so do Facts.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"footfall/collector/sites"
	"footfall/event"
)

// Limits of one request.
const (
	BodyBytesMax    = 64 << 10 // what a browser lets a page send while it unloads
	RecordsBytesMax = 1 << 20  // of all records of one envelope, encoded
	headerBytesMax  = 8 << 10  // request line and headers: holds a pixel's query
)

// Facts is what a request tells about its sender beside the event.
type Facts struct {
	Site           *sites.Site
	IP             netip.Addr // the client's, behind all trusted proxies; may be invalid
	UserAgent      string
	AcceptLanguage string
	GPC            bool // the header Sec-GPC: 1
	DNT            bool // the header DNT: 1
}

// Options configures a Server. Sites and Append are needed, the rest may be left
// out. The functions are called from many goroutines at once.
type Options struct {
	// Sites returns the sites of now.
	Sites func() *sites.List
	// Durability is told in the header X-Footfall-Durability when it is memory: a 2xx then
	// promises nothing.
	Durability string
	// Hosts are the names, in lower case and without a port, that requests may have in
	// Host; none means any.
	Hosts []string
	// AddressRate is how many events a second one public address may send (IPv6: one
	// /64), SiteRate one site whose own rate is not set. 0 means no limit.
	AddressRate, SiteRate float64
	// Enrich fills what follows from the facts. The event is stamped already.
	Enrich func(*event.Event, Facts)
	// Append stores records, each made by event.AppendRecord, and returns nil once
	// they are stored, all or none of them. They belong to it until it returns nil;
	// after an error for ever. It reports why not as ErrFull, ErrBusy or ErrClosed,
	// wrapped or not,
	// or as ErrAway or ErrTooLarge.
	// Its context ends when a shutdown has run out of time, never with the request.
	Append func(ctx context.Context, records [][]byte) error
	// Scripts finds what is served under a path below the root, like "f.js".
	Scripts func(name string) (Script, bool)
	// Beacon and Pixel are further names of /e and /p.gif, without the slash; none when
	// left out.
	Beacon, Pixel string
	// TrustedProxies may tell the client's address in ClientHeader, which is
	// X-Forwarded-For when left out; no other header is looked at. A peer on a Unix socket
	// is trusted always.
	TrustedProxies []netip.Prefix
	ClientHeader   string
	Now            func() time.Time
	Logger         *slog.Logger
	Metrics        *metrics.Set
}

// Server answers requests. Its methods are safe for concurrent use.
type Server struct {
	options   Options
	addresses *limiter
	watch     *watch
	http      *fasthttp.Server
	decoder   event.Decoder
	buffers   buffers
	bodies    bodies
	recent    recent
	count     counters
	waiting   waiting
	// connectionsMax is the constant, but in tests.
	connectionsMax int
	life           context.Context // of Append: longer than any request
	end            context.CancelFunc
}

// New makes a server that listens nowhere yet.
func New(o Options) *Server {
	if o.Scripts == nil {
		o.Scripts = func(string) (Script, bool) { return Script{}, false }
	}
	if o.Enrich == nil {
		o.Enrich = func(*event.Event, Facts) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ClientHeader == "" {
		o.ClientHeader = fasthttp.HeaderXForwardedFor
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	s := &Server{options: o, addresses: newLimiter(o.AddressRate),
		watch: newWatch(o.Metrics), connectionsMax: connectionsMax}
	s.life, s.end = context.WithCancel(context.Background())
	s.http = s.newHTTP()
	s.count = newCounters(o.Metrics, s.http)
	return s
}

// poolLimit is set once: fasthttp keeps it for the process.
var poolLimit = sync.OnceFunc(func() {
	// Larger bodies and answers are not kept for reuse.
	fasthttp.SetBodySizePoolLimit(2*BodyBytesMax, 2*BodyBytesMax)
})

func (s *Server) newHTTP() *fasthttp.Server {
	poolLimit()
	return &fasthttp.Server{
		Handler:      s.Handler,
		ErrorHandler: s.refuseUnread,
		ConnState:    s.waiting.state,
		Logger:       httpLog{s.options.Logger},
		// The whole request has to arrive within this, so that slow senders cannot
		// hold connections.
		ReadTimeout:  5 * time.Second,
		WriteTimeout: 5 * time.Second,
		// Longer than the 60 seconds for which common proxies keep a connection, so
		// that it is the proxy who closes: a request never meets a closing door.
		IdleTimeout: 75 * time.Second,
		// Bodies are read by us, once the headers are found to be good: see bodies.
		// fasthttp itself makes room for as much as a header declares. Of a stream it
		// reads this much ahead, and it knows no lower figure.
		StreamRequestBody:  true,
		MaxRequestBodySize: 1,
		// Caps the headers: more is 431.
		ReadBufferSize: headerBytesMax,
		// Holds all answers but the snippet, and every open connection has one.
		WriteBufferSize: 1 << 10,
		// The door holds the limit; a worker that has closed its connection is free a
		// moment later.
		Concurrency: connectionsMax + 1000,
		// Spreads long-lived connections over instances and frees their buffers.
		MaxRequestsPerConn: 1000,
		// A form is no beacon; parsing it would cost memory for nothing.
		DisablePreParseMultipartForm: true,
		// Tells nobody which server and version this is.
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		// Keeps what strangers sent out of the logs.
		SecureErrorLogMessage: true,
		// Lets a shutdown end with the answers instead of the idle timeout.
		CloseOnShutdown: true,
		// Nobody asks for the time of a request here but through Options.Now.
		LazyRequestTime: true,
		// TCPKeepalive is not needed: Go's listeners have it on, with 15 seconds.
		// A body that is refused for its length before it was sent need not be sent.
		ExpectHandler: s.expect,
	}
}

// Serve answers requests from ln until Shutdown, then returns nil.
func (s *Server) Serve(ln net.Listener) error { return s.http.Serve(s.newDoor(ln)) }

// answerMax is how long senders have to take the answers of a shutdown out of time.
const answerMax = time.Second

// Shutdown stops listening, closes connections without a request and waits until
// each request that was read has its answer. When ctx ends first, it ends the context of the
// Appends under way, whose senders then get 503 shutting_down, waits a second at most until
// they have it, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.waiting.close()
	answering, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.end()
		time.AfterFunc(answerMax, cancel)
	})
	defer stop()
	err := s.http.ShutdownWithContext(answering)
	s.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// httpLog passes on what fasthttp has to say, which is about connections only, without
// their addresses.
type httpLog struct{ *slog.Logger }

func (l httpLog) Printf(format string, args ...any) {
	for i, a := range args {
		switch a := a.(type) {
		case net.Addr:
			args[i] = "-"
		case error:
			if op, ok := errors.AsType[*net.OpError](a); ok {
				args[i] = op.Op + ": " + op.Err.Error()
			}
		}
	}
	l.Debug("http", slog.String("message", fmt.Sprintf(format, args...)))
}
