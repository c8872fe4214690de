package parts

import (
	"io"
	"net"
	"sync"
)

// Proxy is a network to one address that can be cut.
type Proxy struct {
	ln     net.Listener
	target string

	mu     sync.Mutex
	turn   *sync.Cond // when mode changes
	mode   Mode
	conns  map[*net.TCPConn]bool
	closed bool
	wg     sync.WaitGroup
}

// Mode is what a network does with the connections.
type Mode int

// The modes. Held bytes are neither lost nor delivered: the connections look alive.
const (
	Pass   Mode = iota
	NoUp        // what the client sends is held
	NoDown      // what the server answers is held: commits take place and nobody hears
	Hold        // both
	Refuse      // new connections are closed at once
)

// NewProxy listens on a loopback port and passes on to target.
func NewProxy(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, target: target, conns: map[*net.TCPConn]bool{}}
	p.turn = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.ln.Addr().String() }

// Set changes the mode.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	p.turn.Broadcast()
}

// Reset ends all connections with RST: what was held is lost.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.SetLinger(0)
		c.Close()
	}
	clear(p.conns)
	p.turn.Broadcast()
}

// Close ends it and all its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.Reset()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.join(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) join(client *net.TCPConn) {
	defer p.forget(client)
	if !p.keep(client) {
		return
	}
	c, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer p.forget(server)
	if !p.keep(server) {
		return
	}
	up := make(chan struct{})
	go func() {
		p.carry(client, server, NoUp)
		close(up)
	}()
	p.carry(server, client, NoDown)
	client.Close()
	<-up
}

func (p *Proxy) keep(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == Refuse {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

// carry copies until one side ends, and stops in between while its direction is held.
func (p *Proxy) carry(from, to *net.TCPConn, held Mode) {
	defer to.CloseWrite()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		for p.conns[from] && p.conns[to] && (p.mode == held || p.mode == Hold) {
			p.turn.Wait()
		}
		alive := p.conns[from] && p.conns[to]
		p.mu.Unlock()
		if n > 0 && alive {
			if _, werr := to.Write(b[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				to.SetLinger(0) // an RST goes on as one
			}
			return
		}
	}
}
