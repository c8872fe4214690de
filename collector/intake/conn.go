package intake

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// plain reports whether a connection can go on after a timeout. TLS cannot: one may fall
// into the middle of a record.
func plain(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// conn is a connection that sets a deadline only when it comes nearer. fasthttp moves three
// of them with every request, and each move takes a lock and a timer. Here the timer that is
// set runs out after a while, and is set again to what is wanted by then; every deadline is
// kept to the moment all the same.
//
// One goroutine reads and writes; any may set deadlines and close.
type conn struct {
	net.Conn
	exact       bool // its deadlines are passed on as they come
	read, write deadline
	inBody      bool   // while the handler reads a body
	left        func() // called once when it is closed, nil: nothing
	closed      atomic.Bool
}

// deadline in nanoseconds since started, by the clock that is never set back: wanted is the
// caller's, armed the connection's own, never later than wanted; 0 for none so far.
type deadline struct{ wanted, armed atomic.Int64 }

// never is what no deadline is.
const never = 1<<63 - 1

func (d *deadline) set(t time.Time, arm func(time.Time) error) error {
	at := int64(never)
	if !t.IsZero() {
		at = int64(t.Sub(started))
	}
	d.wanted.Store(at)
	if armed := d.armed.Load(); armed != 0 && armed <= at {
		return nil
	}
	d.armed.Store(at)
	return arm(t)
}

// over reports whether err is one to give up for. When only the timer ran out, and not the
// deadline, it sets the timer anew.
func (d *deadline) over(err error, arm func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	for {
		wanted := d.wanted.Load()
		if wanted <= int64(time.Since(started)) {
			return true
		}
		d.armed.Store(wanted)
		at := time.Time{}
		if wanted != never {
			at = started.Add(time.Duration(wanted))
		}
		if arm(at) != nil {
			return true
		}
		if d.wanted.Load() == wanted { // else somebody wants another by now
			return false
		}
	}
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.exact {
		return c.Conn.SetReadDeadline(t)
	}
	return c.read.set(t, c.Conn.SetReadDeadline)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.exact {
		return c.Conn.SetWriteDeadline(t)
	}
	return c.write.set(t, c.Conn.SetWriteDeadline)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read lets the others go first. Whoever was answered by the same group commit has an answer
// to write; by the time they have, this client's next request is there, and is read without
// asking the kernel in vain, parking and being woken.
//
// Where the stream ends within a body it says unexpected: fasthttp would take that for the
// end of the chunks.
func (c *conn) Read(b []byte) (int, error) {
	runtime.Gosched()
	for {
		n, err := c.Conn.Read(b)
		switch {
		case n > 0 && err == io.EOF: // TLS says both at once
			return n, nil
		case err == io.EOF && c.inBody:
			return n, io.ErrUnexpectedEOF
		case n > 0 || err == nil || c.exact || c.read.over(err, c.Conn.SetReadDeadline):
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	for err != nil && !c.exact && !c.write.over(err, c.Conn.SetWriteDeadline) {
		var more int
		more, err = c.Conn.Write(b[n:])
		n += more
	}
	return n, err
}

func (c *conn) Close() error {
	if c.left != nil && !c.closed.Swap(true) {
		c.left()
	}
	return c.Conn.Close()
}
