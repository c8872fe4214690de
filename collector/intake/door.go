package intake

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

const (
	connectionsMax = 20_000 // each holds some 25 KiB while it waits
	// turningMax connections too many are told so at a time; more of them just end.
	turningMax = 512
)

// door is the listener that the server takes its connections from. It lets in no more
// than most, and of one address no more than a twentieth while half of the places are
// taken. Who has to stay outside gets an answer like any other refusal. It also waits
// where Accept can only fail for a while, when there are no file descriptors.
type door struct {
	net.Listener
	most   int
	whose  func(net.Addr) (netip.Prefix, bool) // whom a connection counts for; false: for nobody
	refuse func(net.Conn, *event.Refusal) error
	count  func(*event.Refusal)
	log    *slog.Logger

	turning chan struct{}
	mu      sync.Mutex
	open    int
	of      map[netip.Prefix]int
}

// Accept returns the next connection that may come in.
func (d *door) Accept() (net.Conn, error) {
	pause := time.Duration(0)
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			if !passes(err) {
				return nil, err
			}
			if pause == 0 {
				d.log.Error("accept connections", "err", err)
			}
			pause = min(2*pause+5*time.Millisecond, time.Second)
			time.Sleep(pause)
			continue
		}
		pause = 0
		whose, r := d.enter(c)
		if r == nil {
			return &conn{Conn: c, exact: !plain(c), left: func() { d.leave(whose) }}, nil
		}
		d.count(r)
		select {
		case d.turning <- struct{}{}:
			go func() {
				d.turnAway(c, r)
				<-d.turning
			}()
		default:
			c.Close()
		}
	}
}

// passes reports whether Accept can be tried again: a connection was gone before it was
// taken, or the process or the machine lacks something for now.
func passes(err error) bool {
	for _, e := range []syscall.Errno{syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (d *door) enter(c net.Conn) (netip.Prefix, *event.Refusal) {
	whose, counts := d.whose(c.RemoteAddr())
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.open >= d.most:
		return whose, refusal(event.Overloaded, "the collector has as many connections as it can: send again in a moment")
	case counts && d.open >= d.most/2 && d.of[whose] >= d.most/20:
		return whose, refusal(event.AddressRate, "too many connections from one address: send again later")
	}
	d.open++
	if counts {
		d.of[whose]++
	}
	return whose, nil
}

func (d *door) leave(whose netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if n := d.of[whose]; n > 1 {
		d.of[whose] = n - 1
	} else {
		delete(d.of, whose)
	}
}

// turnAway answers a connection that may not come in. It waits for the request before,
// and for the sender to go after, because an answer to bytes that nobody read is lost.
func (d *door) turnAway(c net.Conn, r *event.Refusal) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return
	}
	if d.refuse(c, r) != nil {
		return
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, io.LimitReader(c, drainedBytes))
	}
}

// newDoor lets connections of ln in. A trusted proxy's are those of many.
func (s *Server) newDoor(ln net.Listener) *door {
	return &door{Listener: ln, most: s.connectionsMax, log: s.options.Logger, refuse: s.turnAway, count: func(r *event.Refusal) { s.count.turnedAway.Inc(); s.note("", r) },
		whose: func(a net.Addr) (netip.Prefix, bool) {
			peer := peerAddress(a)
			if s.options.AddressRate == 0 || !limited(peer) || s.trusted(peer) {
				return netip.Prefix{}, false
			}
			return sender(peer), true
		},
		turning: make(chan struct{}, turningMax), of: map[netip.Prefix]int{}}
}

// turnAway writes a refusal to a connection that nobody serves.
func (s *Server) turnAway(c net.Conn, r *event.Refusal) error {
	var ctx fasthttp.RequestCtx
	ctx.Init(&fasthttp.Request{}, c.RemoteAddr(), nil)
	s.setCORS(&ctx)
	setRefusal(&ctx, r, answer{})
	ctx.SetConnectionClose()
	w := bufio.NewWriter(c)
	if err := ctx.Response.Write(w); err != nil {
		return err
	}
	return w.Flush()
}
