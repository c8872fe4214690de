package collector

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"footfall/collector/sites"
)

// hung is a store on a disk that does not answer any more.
type hung struct {
	entered chan bool
	never   chan struct{}
}

func (hung) begin(context.Context) error       { return nil }
func (h hung) run(context.Context) error       { <-h.never; return nil }
func (hung) confirm([16]byte, map[int32]int64) {}
func (hung) health() (refused, waiting error)  { return nil, nil }
func (hung) close() error                      { return nil }
func (h hung) append(ctx context.Context, _ [][]byte) error {
	h.entered <- true
	<-ctx.Done()
	return fmt.Errorf("wait for the disk: %w", ctx.Err())
}

// Whoever waits for the disk when the collector ends gets no promise, but an answer, and the
// process can end.
func TestACollectorEndsAlthoughItsDiskHangs(t *testing.T) {
	// The first header starts a clock of the whole process, which the bubble would wait for.
	_ = new(fasthttp.ResponseHeader).Header()
	synctest.Test(t, func(t *testing.T) {
		h := hung{make(chan bool, 1), make(chan struct{})}
		c := &Collector{o: Options{Sites: sites.Named("shop"), Logger: slog.New(slog.DiscardHandler),
			Metrics: metrics.NewSet()}, store: h}
		if err := c.makeIntake(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ln := fasthttputil.NewInmemoryListener()
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, ln) }()

		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		body := `{"site":"shop","type":"pageview","url":"https://shop.example/"}`
		fmt.Fprintf(conn, "POST /e HTTP/1.1\r\nHost: c.example\r\nContent-Type: text/plain\r\n"+
			"Content-Length: %d\r\n\r\n%s", len(body), body)
		<-h.entered
		cancel()
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("read answer: %v", err)
		}
		if reason := resp.Header.Get("X-Footfall-Reason"); resp.StatusCode != 503 || reason != "shutting_down" {
			t.Errorf("the answer is %d %s, want 503 shutting_down", resp.StatusCode, reason)
		}
		conn.Close()
		err = <-ended
		if err == nil || !strings.Contains(err.Error(), "forwarder has not ended") {
			t.Errorf("Run: %v, want it to say what has not ended", err)
		}
		if took := time.Since(began); took > answerMax+time.Second+forwardMax {
			t.Errorf("it took %s", took)
		}
		close(h.never)
		time.Sleep(11 * time.Second) // the server's worker pool looks for its end every ten
	})
}

// calm is a store that keeps nothing and is well.
type calm struct{}

func (calm) begin(context.Context) error            { return nil }
func (calm) append(context.Context, [][]byte) error { return nil }
func (calm) run(ctx context.Context) error          { <-ctx.Done(); return nil }
func (calm) confirm([16]byte, map[int32]int64)      {}
func (calm) health() (refused, waiting error)       { return nil, nil }
func (calm) close() error                           { return nil }

// A load balancer has to see that the collector is going before it meets a closed door.
func TestACollectorSaysThatItStopsBeforeItDoes(t *testing.T) {
	_ = new(fasthttp.ResponseHeader).Header()
	synctest.Test(t, func(t *testing.T) {
		const delay = 7 * time.Second
		c := &Collector{o: Options{Sites: sites.Named("shop"), Logger: slog.New(slog.DiscardHandler),
			Metrics: metrics.NewSet(), ShutdownDelay: delay}, store: calm{}}
		if err := c.makeIntake(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ln := fasthttputil.NewInmemoryListener()
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, ln) }()
		ask := func() (int, error) {
			conn, err := ln.Dial()
			if err != nil {
				return 0, err
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET /p.gif?site=shop HTTP/1.1\r\nHost: c.example\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return 0, err
			}
			return resp.StatusCode, nil
		}
		if code, err := ask(); code != 200 {
			t.Fatalf("before: %d, %v", code, err)
		}
		if refused, _ := c.Health(); refused != nil {
			t.Fatalf("before: %v", refused)
		}
		began := time.Now()
		cancel()
		synctest.Wait()
		if refused, _ := c.Health(); refused == nil {
			t.Error("health does not say that it stops")
		}
		time.Sleep(delay - time.Second)
		if code, err := ask(); code != 200 {
			t.Errorf("within the delay a new connection gets %d, %v", code, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < delay || took > delay+time.Second {
			t.Errorf("it took %s, want the delay of %s", took, delay)
		}
		if _, err := ask(); err == nil {
			t.Error("afterwards it still listens")
		}
		time.Sleep(11 * time.Second) // as above
	})
}
