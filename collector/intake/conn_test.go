package intake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// timers counts how often a connection's own deadlines are set.
type timers struct {
	net.Conn
	read, write int
}

func (t *timers) SetReadDeadline(at time.Time) error {
	t.read++
	return t.Conn.SetReadDeadline(at)
}

func (t *timers) SetWriteDeadline(at time.Time) error {
	t.write++
	return t.Conn.SetWriteDeadline(at)
}

func inPipe(t *testing.T, do func(t *testing.T, c *conn, count *timers, peer net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		defer ours.Close()
		defer peer.Close()
		count := &timers{Conn: ours}
		do(t, &conn{Conn: count}, count, peer)
	})
}

func TestReadDeadlinesThatMoveOnCostOneTimer(t *testing.T) {
	inPipe(t, func(t *testing.T, c *conn, count *timers, peer net.Conn) {
		for range 1000 {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))  // of a request
			c.SetReadDeadline(time.Now().Add(75 * time.Second)) // of the time between two
			time.Sleep(time.Millisecond)
		}
		if count.read != 1 {
			t.Errorf("the timer was set %d times in a second of a thousand requests, want once", count.read)
		}
	})
}

func TestReadEndsAtItsDeadline(t *testing.T) {
	second := time.Second
	for name, moves := range map[string][]time.Duration{
		"the first":           {5 * second},
		"moved on":            {5 * second, 75 * second},
		"moved on and nearer": {5 * second, 75 * second, 10 * second},
		"nearer":              {75 * second, 5 * second},
		"past":                {75 * second, -second},
	} {
		t.Run(name, func(t *testing.T) {
			inPipe(t, func(t *testing.T, c *conn, _ *timers, _ net.Conn) {
				started := time.Now()
				for _, d := range moves {
					c.SetReadDeadline(started.Add(d))
				}
				_, err := c.Read(make([]byte, 1))
				want := max(0, moves[len(moves)-1])
				if took := time.Since(started); !errors.Is(err, os.ErrDeadlineExceeded) || took != want {
					t.Errorf("read ended after %s with %v, want a timeout after %s", took, err, want)
				}
			})
		})
	}
}

func TestReadWaitsOnWhenItsDeadlineIsTakenAway(t *testing.T) {
	inPipe(t, func(t *testing.T, c *conn, _ *timers, peer net.Conn) {
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			peer.Write([]byte("x"))
		}()
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("read %d bytes and %v", n, err)
		}
	})
}

// A deadline set from elsewhere, as a shutdown does, ends a Read that waits.
func TestReadThatWaitsEndsByANearerDeadline(t *testing.T) {
	inPipe(t, func(t *testing.T, c *conn, _ *timers, _ net.Conn) {
		c.SetReadDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			c.SetReadDeadline(time.Now())
		}()
		started := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(started) != time.Second {
			t.Errorf("read ended after %s with %v", time.Since(started), err)
		}
	})
}

// The timer runs out in the middle of an answer that has time left: it goes on where it was.
func TestWriteGoesOnAfterItsTimer(t *testing.T) {
	inPipe(t, func(t *testing.T, c *conn, _ *timers, peer net.Conn) {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		want := bytes.Repeat([]byte("answer "), 100)
		got := make(chan []byte)
		go func() {
			b := make([]byte, 10)
			io.ReadFull(peer, b)
			time.Sleep(3 * time.Second)
			rest, _ := io.ReadAll(io.LimitReader(peer, int64(len(want)-len(b))))
			got <- append(b, rest...)
		}()
		n, err := c.Write(want)
		if b := <-got; n != len(want) || err != nil || !bytes.Equal(b, want) {
			t.Errorf("wrote %d of %d bytes and %v; the peer has %q", n, len(want), err, b)
		}
		started := time.Now()
		c.SetWriteDeadline(started.Add(5 * time.Second))
		if _, err := c.Write(want); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(started) != 5*time.Second {
			t.Errorf("a write that nobody reads ended after %s with %v", time.Since(started), err)
		}
	})
}

// A connection that cannot go on after a timeout gets every deadline as it is set.
func TestDeadlinesOfTLSArePassedOn(t *testing.T) {
	server, _ := newTestServer(nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go net.Dial("tcp", ln.Addr().String())
	c, err := server.newDoor(ln).Accept()
	if err != nil || c.(*conn).exact {
		t.Errorf("accepted a %T and %v, want one whose deadlines are kept", c, err)
	}
	one := make(oneConn, 1)
	ours, peer := net.Pipe()
	defer peer.Close()
	defer ours.Close()
	count := &timers{Conn: ours}
	one <- count
	c, err = server.newDoor(one).Accept()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.SetDeadline(time.Now().Add(time.Second))
	}
	if count.read != 3 || count.write != 3 {
		t.Errorf("%d and %d deadlines of 3 are passed on", count.read, count.write)
	}
}

type oneConn chan net.Conn

func (o oneConn) Accept() (net.Conn, error) { return <-o, nil }
func (o oneConn) Close() error              { return nil }
func (o oneConn) Addr() net.Addr            { return nil }
