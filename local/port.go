package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequestBytes is far above the broker's largest batch (1 MiB) and bounds what a stranger on
// the port can make us allocate with four bytes.
const maxRequestBytes = 8 << 20

type listenFunc func(network, addr string) (net.Listener, error)

// listen prepares the broker's listener: the in-process network, joined by a TCP port if wanted.
func (b *Broker) listen(addr string, log *slog.Logger) (int, listenFunc, error) {
	if addr == "" {
		return virtualPort, b.network.Listen, nil
	}
	tcp, err := listenLoopback(addr)
	if err != nil {
		return 0, nil, err
	}
	port := tcp.Addr().(*net.TCPAddr).Port
	virtual, err := b.network.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
	if err != nil {
		tcp.Close()
		return 0, nil, err
	}
	log.Warn("Kafka port is open: programs on this machine can read and write all events",
		"addr", tcp.Addr().String())
	joined := joinListeners(tcp, virtual, log)
	return port, func(string, string) (net.Listener, error) { return joined, nil }, nil
}

func listenLoopback(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read Kafka listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen on %q: the embedded broker has no access control and takes "+
			"a loopback address only, such as 127.0.0.1:9092", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	// A hosts file may send localhost anywhere.
	if !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("listen on %q: it is not a loopback address here", addr)
	}
	return ln, nil
}

// joinedListener accepts from both networks and shows the TCP address to clients.
type joinedListener struct {
	tcp, virtual net.Listener
	conns        chan net.Conn
	closed       chan struct{}
	once         sync.Once
}

func joinListeners(tcp, virtual net.Listener, log *slog.Logger) *joinedListener {
	l := &joinedListener{tcp: tcp, virtual: virtual,
		conns: make(chan net.Conn), closed: make(chan struct{})}
	go l.pull(virtual, log, func(c net.Conn) net.Conn { return c })
	go l.pull(tcp, log, func(c net.Conn) net.Conn { return &checkedConn{Conn: c} })
	return l
}

func (l *joinedListener) pull(from net.Listener, log *slog.Logger, wrap func(net.Conn) net.Conn) {
	for {
		conn, err := from.Accept()
		if err == nil {
			select {
			case l.conns <- wrap(conn):
				continue
			case <-l.closed:
				conn.Close()
				return
			}
		}
		// The broker takes any error of Accept for its end; too many open files must not be.
		select {
		case <-l.closed:
			return
		case <-time.After(100 * time.Millisecond):
			log.Warn("accept on the Kafka port", "err", err)
		}
	}
}

func (l *joinedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *joinedListener) Addr() net.Addr { return l.tcp.Addr() }

func (l *joinedListener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = errors.Join(l.tcp.Close(), l.virtual.Close())
	})
	return err
}

// checkedConn ends a connection before kfake sees a frame that would harm it: an unknown API key is
// a nil dereference there, which takes the whole process along, and the frame's length is
// allocated unseen. Only one goroutine reads a connection.
type checkedConn struct {
	net.Conn
	head []byte // checked bytes of the frame's head, not handed on yet
	body uint32 // bytes of the frame still to come from the wire
}

func (c *checkedConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 && c.body == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(uint32(len(p)), c.body)])
	c.body -= uint32(n)
	return n, err
}

func (c *checkedConn) next() error {
	head := make([]byte, 8) // length, API key, API version
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	key := int16(binary.BigEndian.Uint16(head[4:]))
	version := int16(binary.BigEndian.Uint16(head[6:]))
	if size < 8 || size > maxRequestBytes {
		return fmt.Errorf("read Kafka request: length %d", size)
	}
	req := kmsg.RequestForKey(key)
	// A client newer than the broker asks for ApiVersions first and is told in an older form.
	negotiates := req != nil && req.Key() == kmsg.ApiVersions.Int16()
	if req == nil || version < 0 || version > req.MaxVersion() && !negotiates {
		return fmt.Errorf("read Kafka request: unknown key %d version %d", key, version)
	}
	c.head, c.body = head, size-4
	return nil
}
