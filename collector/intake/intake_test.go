package intake

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"footfall/collector/sites"
	"footfall/event"
)

var now = time.UnixMilli(1772627696789).UTC()

// shelf is an Append that keeps copies of what it got.
type shelf struct {
	mu      sync.Mutex
	records []string
	calls   int
	err     error
}

func (s *shelf) append(_ context.Context, records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return s.err
	}
	for _, r := range records {
		s.records = append(s.records, string(r))
	}
	return nil
}

func (s *shelf) event(t *testing.T, i int) *event.Event {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.records) {
		t.Fatalf("%d records are stored, want more than %d", len(s.records), i)
	}
	var d event.Decoder
	key, value := event.SplitRecord([]byte(s.records[i]))
	e, r := d.Record(value)
	if r != nil {
		t.Fatal(r)
	}
	if string(key) != e.Key() {
		t.Fatalf("record %d has the key %q, want %q", i, key, e.Key())
	}
	return e
}

func newTestServer(change func(*Options)) (*Server, *shelf) {
	kept := &shelf{}
	o := Options{
		Sites:  sites.Named("shop").Current,
		Append: kept.append,
		Now:    func() time.Time { return now },
		Scripts: func(name string) (Script, bool) {
			s := Script{Body: []byte("/*tag*/"), Gzip: []byte("\x1f\x8bzipped"), Brotli: []byte("br"), Hash: "abc123"}
			s.Frozen = name == "f.abc123.js"
			return s, s.Frozen || name == "f.js"
		},
	}
	if change != nil {
		change(&o)
	}
	return New(o), kept
}

// request is one call of the handler without a network.
type request struct {
	method, uri, body string
	headers           []string // name, value, …
	peer              string
}

func (r request) send(s *Server) *fasthttp.Response {
	var req fasthttp.Request
	req.Header.SetMethod(r.method)
	req.Header.SetRequestURI(r.uri)
	req.Header.SetHost("collector.example")
	req.SetBodyString(r.body)
	for i := 0; i+1 < len(r.headers); i += 2 {
		req.Header.Add(r.headers[i], r.headers[i+1])
	}
	var peer net.Addr
	if r.peer != "" {
		peer = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(r.peer), 4711))
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, peer, nil)
	s.Handler(&ctx)
	var out fasthttp.Response
	ctx.Response.CopyTo(&out)
	return &out
}

func post(body string, headers ...string) request {
	return request{method: "POST", uri: "/e", body: body, headers: headers}
}

// serve starts the server on an in-memory listener.
func serve(t *testing.T, s *Server) *fasthttputil.InmemoryListener {
	t.Helper()
	ln := fasthttputil.NewInmemoryListener()
	serveOn(t, s, ln)
	return ln
}

func serveOn(t *testing.T, s *Server, ln net.Listener) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

const oneBeacon = "POST /e HTTP/1.1\r\nHost: c\r\nContent-Length: 15\r\n\r\n" + `{"site":"shop"}`

// raw sends bytes as they are and reads one answer.
func raw(t *testing.T, ln *fasthttputil.InmemoryListener, text string) *http.Response {
	t.Helper()
	c, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, text)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}
