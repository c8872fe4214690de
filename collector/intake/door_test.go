package intake

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/event"
)

// talk sends one beacon and reads its answer.
func talk(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, oneBeacon); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestConnectionsTooManyAreToldSo(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	for _, c := range []struct {
		name string
		tls  *tls.Config
	}{{"plain", nil}, {"TLS", &tls.Config{Certificates: secure.TLS.Certificates}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set := metrics.NewSet()
			s, _ := newTestServer(func(o *Options) { o.Metrics = set })
			s.connectionsMax = 10
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			dial := func() net.Conn {
				t.Helper()
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err == nil && c.tls != nil {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				return conn
			}
			if c.tls != nil {
				serveOn(t, s, tls.NewListener(ln, c.tls))
			} else {
				serveOn(t, s, ln)
			}
			var inside []net.Conn
			for range 10 {
				inside = append(inside, dial())
				if resp := talk(t, inside[len(inside)-1]); resp.StatusCode != 204 || resp.Close {
					t.Fatalf("one of few gets %d", resp.StatusCode)
				}
			}
			for range 3 {
				resp := talk(t, dial())
				if resp.StatusCode != 503 || resp.Header.Get(reasonHeader) != "overloaded" || resp.Header.Get("Retry-After") != "1" ||
					!resp.Close || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("one too many gets %d %v", resp.StatusCode, resp.Header)
				}
			}
			if n := s.count.refused[event.Overloaded].Get(); n != 3 || s.count.turnedAway.Get() != 3 {
				t.Errorf("%d and %d are counted", n, s.count.turnedAway.Get())
			}
			if resp := talk(t, inside[3]); resp.StatusCode != 204 {
				t.Errorf("meanwhile one inside gets %d", resp.StatusCode)
			}
			inside[0].Close()
			wait(t, "a free place", func() bool { return talk(t, dial()).StatusCode == 204 })
		})
	}
}

// stub is a connection from an address.
type stub struct {
	net.Conn
	from string
}

func (s stub) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s.from))
}
func (s stub) Close() error { return nil }

func TestOneAddressLeavesTheOthersTheirConnections(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(func(o *Options) {
		o.AddressRate, o.TrustedProxies = 10, []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}
	})
	s.connectionsMax = 200
	d := s.newDoor(nil)
	enter := func(from string) event.Reason {
		_, r := d.enter(stub{from: from})
		if r == nil {
			return ""
		}
		return r.Reason
	}
	for i := range 100 { // half of the places, as long as they are free
		if r := enter("203.0.113.7:1"); r != "" {
			t.Fatalf("connection %d: %s", i, r)
		}
	}
	if r := enter("203.0.113.7:2"); r != event.AddressRate {
		t.Errorf("more of the same address: %q", r)
	}
	for i := range 10 {
		if r := enter("[2001:db8::1]:1"); r != "" {
			t.Errorf("another address, connection %d: %s", i, r)
		}
	}
	if r := enter("[2001:db8::2]:1"); r != event.AddressRate {
		t.Errorf("more of the same /64: %q", r)
	}
	for i := range 45 {
		if enter("127.0.0.1:1") != "" || enter("198.51.100.1:1") != "" {
			t.Fatalf("loopback or a trusted proxy is limited at %d", i)
		}
	}
	if r := enter("127.0.0.1:1"); r != event.Overloaded {
		t.Errorf("beyond all places: %q", r)
	}
	for range 100 {
		d.leave(netip.MustParsePrefix("203.0.113.7/32"))
	}
	if r := enter("203.0.113.7:1"); r != "" || len(d.of) != 2 {
		t.Errorf("when half is free again: %q, %d addresses", r, len(d.of))
	}
}

// failing is a listener whose Accept returns the errors first.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

// Without file descriptors for a while the collector goes on listening.
func TestAnAcceptThatCanBeTriedAgainIs(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, _ := newTestServer(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	noFiles := &net.OpError{Op: "accept", Err: fmt.Errorf("accept4: %w", syscall.EMFILE)}
	d := s.newDoor(&failing{ln, []error{noFiles, noFiles, &net.OpError{Op: "accept", Err: syscall.ECONNABORTED}, errors.New("broken")}})
	if _, err := d.Accept(); err == nil || err.Error() != "broken" {
		t.Errorf("got %v, want the one that does not pass", err)
	}
	if n := bytes.Count(log.Bytes(), []byte("accept connections")); n != 1 {
		t.Errorf("it is logged %d times: %s", n, &log)
	}
	d.Listener = &failing{ln, []error{noFiles}}
	serveOn(t, s, d.Listener)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp := talk(t, c); resp.StatusCode != 204 {
		t.Errorf("afterwards a beacon gets %d", resp.StatusCode)
	}
}
