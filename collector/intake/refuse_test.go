package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/event"
)

func TestEveryReasonOfARequestHasAStatus(t *testing.T) {
	t.Parallel()
	for _, r := range event.Reasons {
		st, ok := statuses[r]
		sinks := r == event.Undecodable || r == event.RefusedByDatabase
		if ok == sinks || ok && (st.code < 400 || (st.code == 503 || st.code == 429) != (st.retry > 0)) {
			t.Errorf("reason %s has status %+v", r, st)
		}
	}
}

func TestAppendErrorsAreToldWithTheirReason(t *testing.T) {
	t.Parallel()
	for err, reason := range map[error]event.Reason{
		fmt.Errorf("spool: %w", ErrFull): event.SpoolFull, ErrClosed: event.ShuttingDown,
		ErrBusy:          event.Overloaded,
		context.Canceled: event.ShuttingDown, errors.New("disk on fire"): event.SpoolFailed,
	} {
		s, kept := newTestServer(nil)
		kept.err = err
		for _, r := range []request{post(`{"site":"shop"}`), {method: "GET", uri: "/p.gif?site=shop"}} {
			resp := r.send(s)
			if resp.StatusCode() != 503 || string(resp.Header.Peek(reasonHeader)) != string(reason) {
				t.Errorf("%v: %d %s, want 503 %s", err, resp.StatusCode(),
					resp.Header.Peek(reasonHeader), reason)
			}
			checkRefusal(t, err.Error(), resp)
			if strings.Contains(string(resp.Body()), "fire") {
				t.Errorf("the answer tells strangers what broke: %s", resp.Body())
			}
		}
	}
}

func TestAPanicCostsOneRequestOnly(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(func(o *Options) { o.Enrich = func(*event.Event, Facts) { panic("bug") } })
	resp := post(`{"site":"shop"}`).send(s)
	if resp.StatusCode() != 500 || string(resp.Header.Peek(reasonHeader)) != "internal" {
		t.Errorf("got %d %s", resp.StatusCode(), resp.Body())
	}
	checkCommonHeaders(t, "panic", resp)
	if s.count.refused[event.Internal].Get() != 1 {
		t.Error("the panic was not counted")
	}
}

// The time of an answer is a histogram that Prometheus can take quantiles of.
func TestTheTimeOfAnAckIsMeasured(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	at := now
	s, kept := newTestServer(func(o *Options) {
		o.Metrics, o.Now = set, func() time.Time { return at }
		o.Enrich = func(*event.Event, Facts) { at = at.Add(3 * time.Millisecond) }
	})
	post(`{"site":"shop"}`).send(s)
	kept.err = ErrFull
	post(`{"site":"shop"}`).send(s) // no ack
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for _, line := range []string{`footfall_ack_seconds_bucket{le="0.0025"} 0`, `footfall_ack_seconds_bucket{le="0.005"} 1`,
		"footfall_ack_seconds_count 1", "footfall_ack_seconds_sum 0.003"} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("%s is missing in\n%s", line, b.String())
		}
	}
}

func TestMetricsHaveEverySeriesFromTheStart(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	newTestServer(func(o *Options) { o.Metrics = set })
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for _, name := range []string{`footfall_accepted_total{transport="pixel"} 0`,
		`footfall_refused_total{reason="spool_full"} 0`, "footfall_sanitised_total 0"} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("%s is missing in\n%s", name, b.String())
		}
	}
}
