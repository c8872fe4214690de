package intake

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"
)

// clientAddress returns the address of the browser, and whether the header told it. What
// ClientHeader says is heeded only when a trusted proxy sent it, and read from the right:
// everything to the left of the first address that is not trusted was written by a
// stranger. When it makes no sense the peer's own address stands, and the case is counted.
func (s *Server) clientAddress(ctx *fasthttp.RequestCtx) (client netip.Addr, told bool) {
	peer := peerAddress(ctx.RemoteAddr())
	if peer.IsValid() && !s.trusted(peer) {
		return peer, false
	}
	lines := ctx.Request.Header.PeekAll(s.options.ClientHeader)
	if len(lines) == 0 {
		return peer, false
	}
	client, ok := s.forwardedFor(bytes.Join(lines, []byte(",")))
	if !ok {
		s.count.forwarded.Inc()
		return peer, false
	}
	return client, true
}

// address is the client's, as a dry run tells it to the client: doctor --proxy asks.
type address struct {
	Address string `json:"address,omitempty"`
	Header  string `json:"header,omitempty"` // that was believed; none: the connection's own address
}

func (s *Server) addressOf(ctx *fasthttp.RequestCtx) *address {
	client, told := s.clientAddress(ctx)
	a := &address{}
	if client.IsValid() {
		a.Address = client.String()
	}
	if told {
		a.Header = s.options.ClientHeader
	}
	return a
}

// peerAddress returns an invalid address for a Unix socket.
func peerAddress(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func (s *Server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.options.TrustedProxies,
		func(p netip.Prefix) bool { return p.Contains(a) })
}

// forwardedFor returns the rightmost address that is no trusted proxy, or the
// leftmost when all are.
func (s *Server) forwardedFor(list []byte) (client netip.Addr, ok bool) {
	for more := true; more; {
		var last []byte
		if i := bytes.LastIndexByte(list, ','); i >= 0 {
			last, list = list[i+1:], list[:i]
		} else {
			last, more = list, false
		}
		a, ok := parseForwarded(string(bytes.TrimSpace(last)))
		if !ok {
			return netip.Addr{}, false
		}
		client = a
		if !s.trusted(a) {
			break
		}
	}
	return client, true
}

// parseForwarded reads an address as proxies write it: bare, with a port, in
// brackets, or both.
func parseForwarded(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(text); err == nil {
			a = ap.Addr()
		} else if n := len(text); n > 2 && text[0] == '[' && text[n-1] == ']' {
			a, err = netip.ParseAddr(text[1 : n-1])
		}
	}
	a = a.Unmap().WithZone("")
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}, false
	}
	return a, true
}
