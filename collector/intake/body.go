package intake

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

const (
	// bodyBytesFirst is the room that a body has at first, and most have in the end.
	bodyBytesFirst = 4 << 10
	// bodiesBytesMax is what all larger bodies together may take at a time; those of pages, which
	// anybody can send, half of it.
	bodiesBytesMax = 64 << 20
	// drainedBytes of a body that nobody read fasthttp reads behind the answer.
	drainedBytes = 256 << 10
)

// bodies reads what requests carry. The length that a sender declares buys it nothing:
// room is made as bytes arrive, and all rooms together are bounded, so that neither many
// declared bodies nor many half-sent ones take the collector's memory. The zero value is
// ready; it is safe for concurrent use.
type bodies struct {
	held     atomic.Int64 // bytes of the larger rooms
	pool     sync.Pool    // of *body with the first room
	unzipper sync.Pool    // of *gzip.Reader
}

// body is what one request carries, up to put.
type body struct {
	bytes []byte
	held  int64 // of bodies.held
}

// read returns the body of ctx, which has limit bytes at most. It reports body_too_large,
// overloaded, request_timeout, or bad_request.
func (p *bodies) read(ctx *fasthttp.RequestCtx, limit int) (*body, *event.Refusal) {
	if !ctx.Request.IsBodyStream() { // there is none, or the request was made and not read
		return p.copied(ctx.PostBody(), limit)
	}
	length, stream := ctx.Request.Header.ContentLength(), ctx.Request.BodyStream()
	if length > limit {
		return nil, tooLong(ctx, stream, length, limit)
	}
	b := p.get()
	c, ours := ctx.Conn().(*conn)
	if ours {
		c.inBody = true
	}
	err := p.fill(b, stream, limit)
	if ours {
		c.inBody = false
	}
	if err == nil && len(b.bytes) < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		p.put(b)
		if err != ErrBusy && err != fasthttp.ErrBodyTooLarge {
			ctx.SetConnectionClose() // where the next request begins is not known
		}
		return nil, unreadable(err, limit)
	}
	return b, nil
}

func (p *bodies) copied(text []byte, limit int) (*body, *event.Refusal) {
	if len(text) > limit {
		return nil, unreadable(fasthttp.ErrBodyTooLarge, limit)
	}
	b := p.get()
	b.bytes = append(b.bytes, text...)
	return b, nil
}

// tooLong refuses a body by its declared length. One that is a little too large is read
// to its end, so that its sender sees the answer and not a reset connection.
func tooLong(ctx *fasthttp.RequestCtx, stream io.Reader, length, limit int) *event.Refusal {
	if length > 2*limit {
		ctx.SetConnectionClose()
	} else if length > drainedBytes {
		if _, err := io.Copy(io.Discard, stream); err != nil {
			ctx.SetConnectionClose()
		}
	}
	return unreadable(fasthttp.ErrBodyTooLarge, limit)
}

// unzip returns what is gzipped in b, limit bytes at most.
func (p *bodies) unzip(b *body, limit int) (*body, *event.Refusal) {
	z, ok := p.unzipper.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	defer p.unzipper.Put(z)
	out := p.get()
	err := z.Reset(bytes.NewReader(b.bytes))
	if err == nil {
		err = p.fill(out, z, limit)
	}
	switch {
	case err == nil:
		return out, nil
	case err != ErrBusy && err != fasthttp.ErrBodyTooLarge:
		p.put(out)
		return nil, refusal(event.BadRequest, "body is not gzip, as Content-Encoding says")
	}
	p.put(out)
	return nil, unreadable(err, limit)
}

// fill reads r to its end. It reports fasthttp.ErrBodyTooLarge, ErrBusy, or what r does.
func (p *bodies) fill(b *body, r io.Reader, limit int) error {
	for {
		n, err := r.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > limit:
			return fasthttp.ErrBodyTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case len(b.bytes) == cap(b.bytes) && !p.grow(b, limit):
			return ErrBusy
		}
	}
}

// grow makes room for four times what has arrived, and for no more than a byte beyond
// limit, which tells that it was passed.
func (p *bodies) grow(b *body, limit int) bool {
	size, most := min(4*cap(b.bytes), limit+1), int64(bodiesBytesMax)
	if limit <= BodyBytesMax {
		most /= 2
	}
	if p.held.Add(int64(size)) > most {
		p.held.Add(-int64(size))
		return false
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	p.held.Add(-b.held)
	b.held = int64(size)
	return true
}

func (p *bodies) get() *body {
	if b, ok := p.pool.Get().(*body); ok {
		return b
	}
	return &body{bytes: make([]byte, 0, bodyBytesFirst)}
}

// put ends the use of a body, and of what refers to it.
func (p *bodies) put(b *body) {
	spoil(b.bytes)
	if b.held > 0 {
		p.held.Add(-b.held)
		return
	}
	b.bytes = b.bytes[:0]
	p.pool.Put(b)
}

// unreadable says why a request, or its body of limit bytes at most, was not read.
func unreadable(err error, limit int) *event.Refusal {
	timeout, small := (interface{ Timeout() bool })(nil), (*fasthttp.ErrSmallBuffer)(nil)
	switch {
	case err == ErrBusy:
		return refusal(event.Overloaded, "too many large requests are under way: send again in a moment")
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return refusal(event.BodyTooLarge, "body is larger than "+strconv.Itoa(limit)+" bytes: send it in parts")
	case errors.As(err, &timeout) && timeout.Timeout():
		return refusal(event.RequestTimeout, "the request did not arrive in time")
	case errors.As(err, &small):
		return refusal(event.HeaderTooLarge, "request line and headers are larger than "+
			strconv.Itoa(headerBytesMax)+" bytes")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refusal(event.BadRequest, "the request ended before its end")
	}
	return refusal(event.BadRequest, "this is not HTTP/1.1 as we speak it")
}
