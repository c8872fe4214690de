package intake

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// listener hands out connections that cost fewer system calls and timers.
type listener struct{ net.Listener }

// Accept leaves TLS as it is: after a timeout in the middle of a record it could not go on.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return &conn{Conn: c}, err
	}
	return c, err
}

// conn is a connection that sets a deadline only when it comes nearer. fasthttp moves three
// of them with every request, and each move takes a lock and a timer. Here the timer that is
// set runs out after a while, and is set again to what is wanted by then; every deadline is
// kept to the moment all the same.
//
// One goroutine reads and writes; any may set deadlines and close.
type conn struct {
	net.Conn
	read, write deadline
}

// deadline in Unix nanoseconds: wanted is the caller's, armed the connection's own, never
// later than wanted; 0 for none so far.
type deadline struct{ wanted, armed atomic.Int64 }

// never is what no deadline is.
const never = 1<<63 - 1

func (d *deadline) set(t time.Time, arm func(time.Time) error) error {
	at := int64(never)
	if !t.IsZero() {
		at = t.UnixNano()
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
	wanted := d.wanted.Load()
	if !errors.Is(err, os.ErrDeadlineExceeded) || wanted <= time.Now().UnixNano() {
		return true
	}
	d.armed.Store(wanted)
	return arm(time.Unix(0, wanted)) != nil
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.read.set(t, c.Conn.SetReadDeadline) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.set(t, c.Conn.SetWriteDeadline) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read lets the others go first. Whoever was answered by the same group commit has an answer
// to write; by the time they have, this client's next request is there, and is read without
// asking the kernel in vain, parking and being woken.
func (c *conn) Read(b []byte) (int, error) {
	runtime.Gosched()
	for {
		n, err := c.Conn.Read(b)
		if n > 0 || err == nil || c.read.over(err, c.Conn.SetReadDeadline) {
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	for err != nil && !c.write.over(err, c.Conn.SetWriteDeadline) {
		var more int
		more, err = c.Conn.Write(b[n:])
		n += more
	}
	return n, err
}
