package intake

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// waiting holds the connections that were opened and have sent nothing yet.
// Browsers open some ahead of need; fasthttp gives each five seconds, by which a
// shutdown would be late. The zero value is ready.
type waiting struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// state is the server's ConnState hook.
func (w *waiting) state(c net.Conn, s fasthttp.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s != fasthttp.StateNew:
		if len(w.conns) > 0 { // twice a request: spares it the hash
			delete(w.conns, c)
		}
	case w.closed:
		c.Close()
	default:
		if w.conns == nil {
			w.conns = make(map[net.Conn]struct{})
		}
		w.conns[c] = struct{}{}
	}
}

// close ends all of them, and those that still come.
func (w *waiting) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}
