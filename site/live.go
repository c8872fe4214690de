package site

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	pollInterval = 100 * time.Millisecond
	pollTimeout  = 3 * time.Second
	// awayInterval is the pause after a poll that PostgreSQL did not answer.
	awayInterval = 500 * time.Millisecond
	pollRows     = 200
	// fullPollsMax full answers in a row mean that events come faster than they can be shown.
	fullPollsMax = 10

	writeTimeout = 5 * time.Second
	// retryLine tells the browser to come back after a second; left alone it waits for three.
	retryLine = "retry: 1000\n\n"

	// beatInterval keeps proxies from closing a quiet stream; most do after 60 s.
	beatInterval = 15 * time.Second
)

// livePolicy allows the page its own files and nothing else. Trusted Types with no policy make
// the browser itself refuse every way to turn a text into markup or script.
const livePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
	"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"

func (s *Server) liveRoutes(mux *http.ServeMux) {
	page := template.Must(template.ParseFS(files, "live/live.html"))
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", livePolicy)
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		_, embedded := r.URL.Query()["embed"]
		if err := page.Execute(w, struct{ Embedded bool }{embedded}); err != nil {
			s.log.Debug("write live page", "err", err)
		}
	})
	mux.HandleFunc("GET /live/events", s.stream)
}

// stream sends server-sent messages until the watcher leaves, is dropped, or Run ends: "hello"
// (the server's clock), "status" (the database is here or away), "past" (an event from before),
// "event" (a new one, in the order of loading) and "jump" (events were left out).
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	watcher, first, err := s.hub.join()
	if err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.hub.leave(watcher)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := sse{w: w, c: http.NewResponseController(w)}
	if _, err := io.WriteString(w, retryLine); err != nil {
		return
	}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	hello := message{"hello", []byte(`{"now":` + now + `}`)}
	if out.write(append([]message{hello}, first...)) != nil {
		return
	}
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-watcher.gone:
			return
		case batch := <-watcher.batches:
			err = out.write(batch)
		case <-beat.C:
			err = out.beat()
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.counters.dropped.Inc()
			}
			return
		}
	}
}

// sse writes messages with a deadline of its own, so that a peer which stopped reading costs a
// goroutine for seconds, whatever the server's write timeout says about pages.
type sse struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (o sse) write(batch []message) error {
	if err := o.deadline(); err != nil {
		return err
	}
	for _, m := range batch {
		if _, err := fmt.Fprintf(o.w, "event: %s\ndata: %s\n\n", m.name, m.data); err != nil {
			return err
		}
	}
	return o.c.Flush()
}

func (o sse) beat() error {
	if err := o.deadline(); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(": beat\n\n")); err != nil {
		return err
	}
	return o.c.Flush()
}

func (o sse) deadline() error {
	err := o.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// poller is Run's own: where it is in the table, and for which generation of the hub.
type poller struct {
	*Server
	generation uint64
	cursor     string
	answered   bool // the first answer of a generation is what was there before
	fullPolls  int
}

// step reads once and hands on what it read. It returns how long to wait before the next one.
func (p *poller) step(ctx context.Context) time.Duration {
	if g := p.hub.current(); g != p.generation {
		*p = poller{Server: p.Server, generation: g}
	}
	limit, name := pollRows, "event"
	if p.cursor == "" {
		limit = backlogMax
	}
	if !p.answered {
		name = "past"
	}
	events, cursor, err := p.read(ctx, limit)
	if ctx.Err() != nil {
		return 0
	}
	p.tell(err)
	if err != nil {
		return awayInterval
	}
	p.cursor, p.answered = cursor, true
	lines := p.encode(events)
	p.counters.shown.Add(len(lines))
	p.counters.dropped.Add(p.hub.publish(p.generation, name, lines))
	if len(events) < limit || limit < pollRows {
		p.fullPolls = 0
		return p.pollEvery
	}
	if p.fullPolls++; p.fullPolls >= fullPollsMax {
		p.counters.dropped.Add(p.hub.jump())
		return p.pollEvery
	}
	return 0
}

func (p *poller) read(ctx context.Context, limit int) ([]Event, string, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return p.o.Recent(ctx, p.cursor, limit)
}

// tell logs and shows only the changes: PostgreSQL went away, PostgreSQL is back.
func (p *poller) tell(err error) {
	if err == nil {
		p.counters.polls.Inc()
	} else {
		p.counters.away.Inc()
	}
	news, dropped := p.hub.setAway(err != nil)
	p.counters.dropped.Add(dropped)
	switch {
	case news && err != nil:
		p.log.Warn("live view waits for the database", "err", err)
	case news:
		p.log.Info("live view has the database back")
	}
}

func (p *poller) encode(events []Event) [][]byte {
	lines := make([][]byte, 0, len(events))
	for i := range events {
		line, err := events[i].encode()
		if err != nil {
			p.log.Warn("leave an event out of the live view", "id", events[i].ID, "err", err)
			continue
		}
		lines = append(lines, line)
	}
	return lines
}
