package parts

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo answers what it gets.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

func TestANetworkHoldsAndDeliversLate(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1)
	for _, mode := range []Mode{NoUp, NoDown, Hold} {
		p.Set(mode)
		c.Write([]byte("x"))
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(b); n != 0 || err == nil {
			t.Errorf("mode %d delivers", mode)
		}
		p.Set(Pass)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 'x' {
			t.Errorf("mode %d loses: %v", mode, err)
		}
	}
	p.Set(Hold)
	c.Write([]byte("y"))
	p.Reset()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(b); n != 0 || err == nil {
		t.Error("a reset connection lives")
	}
}

func TestANetworkRefuses(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Set(Refuse)
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a refused connection lives")
	}
}
