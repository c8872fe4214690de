package intake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp/fasthttputil"

	"footfall/event"
)

// open dials and writes; the connection ends with the test.
func open(t *testing.T, ln *fasthttputil.InmemoryListener, text string) net.Conn {
	t.Helper()
	c, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func answerOn(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// What a header declares takes no memory, whether nothing of it comes or the first bytes.
// This one runs alone: it measures the process.
func TestADeclaredBodyHoldsNoMemory(t *testing.T) {
	s, kept := newTestServer(nil)
	ln := serve(t, s)
	const n = 2000
	before := heap()
	for i := range n {
		open(t, ln, fmt.Sprintf("POST /e HTTP/1.1\r\nHost: c\r\nContent-Length: %d\r\n\r\n%s", BodyBytesMax, "{"[:i%2]))
	}
	// Twice fasthttp's buffer of headers; a declared body would be 64 KiB.
	if each := (int64(heap()) - int64(before)) / n; each > 40<<10 {
		t.Errorf("a connection that declares a body holds %d bytes", each)
	} else {
		t.Logf("a connection that declares a body holds %d bytes", each)
	}
	for range 20 {
		if resp := raw(t, ln, oneBeacon); resp.StatusCode != 204 {
			t.Errorf("beside them a beacon gets %d", resp.StatusCode)
		}
	}
	if len(kept.records) != 20 || s.bodies.held.Load() != 0 {
		t.Errorf("%d records, %d bytes of bodies are held", len(kept.records), s.bodies.held.Load())
	}
}

// Bodies that have half arrived may take so much and no more; small ones go on.
func TestHalfSentBodiesAreBounded(t *testing.T) {
	s, _ := newTestServer(nil)
	ln := serve(t, s)
	const half = 20 << 10 // takes the largest room
	var conns []net.Conn
	for range bodiesBytesMax/BodyBytesMax + 20 {
		conns = append(conns, open(t, ln, fmt.Sprintf("POST /e HTTP/1.1\r\nHost: c\r\nContent-Length: %d\r\n\r\n%s",
			BodyBytesMax, strings.Repeat(" ", half))))
	}
	refused := make(chan *http.Response)
	for _, c := range conns {
		go func() {
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				refused <- resp
			}
		}()
	}
	for range 20 { // the others do not fit
		resp := <-refused
		if resp.StatusCode != 503 || resp.Header.Get(reasonHeader) != string(event.Overloaded) ||
			resp.Header.Get("Retry-After") != "1" {
			t.Errorf("a large body too many gets %d %s, Retry-After %s", resp.StatusCode, resp.Header.Get(reasonHeader),
				resp.Header.Get("Retry-After"))
		}
	}
	if held := s.bodies.held.Load(); held > bodiesBytesMax {
		t.Errorf("%d bytes are held", held)
	}
	if resp := raw(t, ln, oneBeacon); resp.StatusCode != 204 {
		t.Errorf("beside them a small beacon gets %d", resp.StatusCode)
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { c.Close() })
	}
	wg.Wait()
	go func() {
		for range refused { // what is told to those who are gone
		}
	}()
	large := strings.Repeat(" ", BodyBytesMax-15) + `{"site":"shop"}`
	wait(t, "room for a large body", func() bool {
		return raw(t, ln, fmt.Sprintf("POST /e HTTP/1.1\r\nHost: c\r\nContent-Length: %d\r\n\r\n%s", BodyBytesMax, large)).StatusCode == 204
	})
	wait(t, "all memory to be given back", func() bool { return s.bodies.held.Load() == 0 })
}

// wait looks again and again until it is so.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A body that ends before its length is no event, even when what came would be one.
func TestABodyThatEndsEarlyIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"length": "POST /e HTTP/1.1\r\nHost: c\r\nContent-Length: 16\r\n\r\n" + `{"site":"shop"}`,
		"chunks": "POST /e HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n" + `{"site":"shop"}` + "\r\n",
		"chunk":  "POST /e HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + `{"site":"shop"}`,
	} {
		s, kept := newTestServer(nil)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, s, ln)
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		resp := answerOn(t, c)
		if resp.StatusCode != 400 || resp.Header.Get(reasonHeader) != "bad_request" || !resp.Close || len(kept.records) != 0 {
			t.Errorf("%s: %d %s, close %v, %d records", name, resp.StatusCode, resp.Header.Get(reasonHeader), resp.Close, len(kept.records))
		}
	}
}

func TestPagesLeaveRoomForServers(t *testing.T) {
	t.Parallel()
	s, _, secret := newAPIServer(t)
	s.bodies.held.Store(bodiesBytesMax / 2)
	large := strings.Repeat(" ", BodyBytesMax/2)
	if r := s.bodies.fill(s.bodies.get(), strings.NewReader(large), BodyBytesMax); r != ErrBusy {
		t.Errorf("a page's body: %v, want ErrBusy", r)
	}
	c := apiCase{body: zipped(large + "{}"), headers: []string{"Content-Encoding", "gzip"}}
	if resp := c.request(secret).send(s); resp.StatusCode() != 200 {
		t.Errorf("a server's: %d %s", resp.StatusCode(), resp.Body())
	}
}

// A gzipped body counts as what comes out of it.
func TestBodiesOfServersAreBoundedToo(t *testing.T) {
	t.Parallel()
	s, _, secret := newAPIServer(t)
	s.bodies.held.Store(bodiesBytesMax - 64<<10)
	c := apiCase{body: zipped(strings.Repeat(" ", APIBytesMax/2) + "{}"), headers: []string{"Content-Encoding", "gzip"}}
	if resp := c.request(secret).send(s); resp.StatusCode() != 503 || string(resp.Header.Peek(reasonHeader)) != "overloaded" {
		t.Errorf("without room: %d %s", resp.StatusCode(), resp.Body())
	}
	if held := s.bodies.held.Load(); held != bodiesBytesMax-64<<10 {
		t.Errorf("%d bytes are held afterwards", held)
	}
	s.bodies.held.Store(0)
	if resp := c.request(secret).send(s); resp.StatusCode() != 200 || s.bodies.held.Load() != 0 {
		t.Errorf("with room: %d, %d bytes held", resp.StatusCode(), s.bodies.held.Load())
	}
}
