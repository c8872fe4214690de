package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"footfall/collector/intake"

	"github.com/VictoriaMetrics/metrics"
)

// admin is the second, private listener: metrics, health, profiles and, in up, the
// records of the broker that has no port.
type admin struct {
	set      *metrics.Set
	mongo    *metrics.Set // of the second store, nil: there is none
	health   []health
	tail     func(ctx context.Context, fromEnd bool, each func(line []byte) error) error // nil: none
	refusals func(site string) []intake.Refused                                          // nil: none
	log      *slog.Logger
}

// health is one thing that a process depends on. refused means that it cannot do
// its work now; degraded that the work waits and nothing is lost.
type health struct {
	name  string
	check func(ctx context.Context) (refused, degraded error)
}

// waiting is the health of a part whose work can wait while the process goes on.
func waiting(h health) health {
	return health{h.name, func(ctx context.Context) (refused, degraded error) {
		refused, degraded = h.check(ctx)
		return nil, errors.Join(refused, degraded)
	}}
}

// report is the answer of /health/ready, read by doctor and by container checks.
type report struct {
	Status string            `json:"status"` // ok, degraded or unavailable
	Checks map[string]string `json:"checks"` // "ok", or what is wrong
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		a.set.WritePrometheus(w)
		if a.mongo != nil {
			writeLabelled(w, a.mongo, `store="mongo"`)
		}
		metrics.WriteProcessMetrics(w)
	})
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /health/ready", a.ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if a.refusals != nil {
		mux.HandleFunc("GET /refusals", a.recentRefusals)
	}
	if a.tail != nil {
		mux.HandleFunc("GET /tail", a.stream)
	}
	return mux
}

// writeLabelled writes a set whose names another has too, with a label to tell them
// apart.
func writeLabelled(w io.Writer, set *metrics.Set, label string) {
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for line := range bytes.Lines(b.Bytes()) {
		at := bytes.IndexAny(line, "{ ")
		switch {
		case at < 0 || line[0] == '#':
			w.Write(line)
		case line[at] == '{':
			fmt.Fprintf(w, "%s{%s,%s", line[:at], label, line[at+1:])
		default:
			fmt.Fprintf(w, "%s{%s}%s", line[:at], label, line[at:])
		}
	}
}

func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	out := report{Status: "ok", Checks: map[string]string{}}
	for _, h := range a.health {
		refused, degraded := h.check(ctx)
		switch {
		case refused != nil:
			out.Status, out.Checks[h.name] = "unavailable", refused.Error()
		case degraded != nil:
			if out.Status == "ok" {
				out.Status = "degraded"
			}
			out.Checks[h.name] = degraded.Error()
		default:
			out.Checks[h.name] = "ok"
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if out.Status == "unavailable" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.log.Debug("health not sent", "err", err)
	}
}

// recentRefusals tells the owner of a site why events of theirs are not taken.
func (a *admin) recentRefusals(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	out := map[string]any{"refusals": a.refusals(r.URL.Query().Get("site"))}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.log.Debug("refusals not sent", "err", err)
	}
}

func (a *admin) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	rc.Flush()
	err := a.tail(r.Context(), r.URL.Query().Get("from") != "start", func(line []byte) error {
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		return rc.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		a.log.Warn("tail ended", "err", err)
	}
}

// beside runs parts like together, and the admin listener until the last of them has ended:
// an end has a health and metrics too.
func (a *admin) beside(ctx context.Context, ln net.Listener, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- serve(last, ln, a.handler())
	}()
	err := together(ctx, parts...)
	stop()
	return errors.Join(err, <-ended)
}

// serve answers on ln until ctx ends.
func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() {
		// Streams end with ctx; the rest gets a moment of its own.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(closing) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}
