package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"footfall/event"
)

// sendCmd sends test events as a browser would, one a request, and sends one again
// under the same id until it is told what became of it.
type sendCmd struct {
	dataFlags
	Collector baseURL    `help:"The collector; that of the running footfall up when left out." placeholder:"URL"`
	Site      string     `help:"Site that the events are of; by default the first of the running up, else demo." placeholder:"SITE"`
	N         count      `short:"n" help:"How many events to send." default:"10"`
	Rate      rate       `help:"Events a second; 0 for as fast as it goes." default:"0"`
	Types     eventTypes `help:"Types to send by turns." default:"pageview,click,form"`
	Workers   count      `help:"Requests on their way at once." default:"32"`
}

// sendTries bounds the tries of one event: with the waits between them about a
// minute, longer than a restart of the collector takes.
const sendTries = 12

type sender struct {
	cmd    *sendCmd
	url    string
	origin string // "" for none
	client *http.Client

	accepted, refused, unknown atomic.Int64
	mu                         sync.Mutex
	reasons                    map[string]int
}

// Run sends N events and says what became of them. It is a problem when one was not
// accepted.
func (c *sendCmd) Run(ctx context.Context, p *program) error {
	if err := c.find(); err != nil {
		return err
	}
	origin, err := originOf(p, c.Site)
	if err != nil {
		return err
	}
	s := &sender{cmd: c, url: string(c.Collector) + "/e", origin: origin, reasons: map[string]int{}, client: &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: int(c.Workers)},
	}}
	began := time.Now()
	s.run(ctx)
	took := time.Since(began)
	s.say(p.out, took)
	if int(s.accepted.Load()) < int(c.N) {
		return errTold
	}
	return nil
}

// find fills in the collector of the running up.
func (c *sendCmd) find() error {
	up := upFile{Sites: []string{"demo"}}
	if c.Collector == "" {
		running, ok, err := c.running()
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("no footfall up runs on %s: start it, or give --collector", c.Data)
		}
		up, c.Collector = running, baseURL(running.Collector)
	}
	if c.Site == "" {
		c.Site = up.Sites[0]
	}
	return nil
}

func (s *sender) run(ctx context.Context) {
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range s.cmd.Workers {
		wg.Go(func() {
			for i := range jobs {
				s.send(ctx, i)
			}
		})
	}
	began := time.Now()
	for i := range int(s.cmd.N) {
		if s.cmd.Rate > 0 {
			due := began.Add(time.Duration(float64(i) / float64(s.cmd.Rate) * float64(time.Second)))
			wait(ctx, time.Until(due))
		}
		if ctx.Err() != nil {
			break
		}
		jobs <- i
	}
	close(jobs)
	wg.Wait()
}

// send sends one event until it is accepted or refused for good.
func (s *sender) send(ctx context.Context, i int) {
	id := event.NewUUID(time.Now())
	var last error
	for try := range sendTries {
		status, reason, after, err := s.post(ctx, s.body(i, id))
		switch {
		case err == nil && status < 300:
			s.accepted.Add(1)
			return
		case err == nil && status != http.StatusTooManyRequests && status < 500:
			s.refused.Add(1)
			s.count(reason)
			return
		case ctx.Err() != nil:
			s.unknown.Add(1)
			return
		}
		last = err
		if err == nil {
			last = errors.New(reason)
		}
		backoff := min(100*time.Millisecond<<try, 8*time.Second)
		wait(ctx, max(after, backoff/2+rand.N(backoff)))
	}
	s.unknown.Add(1)
	s.count(last.Error())
}

func (s *sender) count(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons[reason]++
}

func (s *sender) post(ctx context.Context, body []byte) (status int, reason string, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, "", 0, err
	}
	req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	req.Header.Set("User-Agent", agents[rand.N(len(agents))])
	if s.origin != "" {
		req.Header.Set("Origin", s.origin)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, resp.Header.Get("X-Footfall-Reason"),
		time.Duration(min(seconds, 30)) * time.Second, nil
}

func (s *sender) say(w io.Writer, took time.Duration) {
	n := s.accepted.Load()
	fmt.Fprintf(w, "%d accepted, %d refused, %d of unknown fate; %.1f s, %.0f a second\n",
		n, s.refused.Load(), s.unknown.Load(), took.Seconds(), float64(n)/took.Seconds())
	for _, reason := range slices.Sorted(maps.Keys(s.reasons)) {
		fmt.Fprintf(w, "  %6d  %s\n", s.reasons[reason], reason)
	}
}

var agents = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
}

// body makes the i-th envelope. Its time of sending is read anew for each try.
func (s *sender) body(i int, id event.UUID) []byte {
	t := s.cmd.Types[i%len(s.cmd.Types)]
	page := fmt.Sprintf("https://shop.example/product/%d?utm_source=send&utm_campaign=test", i%20)
	e := map[string]any{"event_id": id.String(), "type": t, "url": page,
		"title": fmt.Sprintf("Product %d", i%20), "referrer": "https://www.google.com/"}
	switch t {
	case event.Click:
		e["name"] = "outbound"
		e["props"] = map[string]any{"href": "https://example.com/", "text": "Elsewhere"}
	case event.Form:
		e["name"] = "newsletter"
		e["props"] = map[string]any{"form_id": "newsletter", "method": "post"}
	case event.Custom:
		e["name"] = "send"
		e["props"] = map[string]any{"n": i}
	}
	b, err := json.Marshal(map[string]any{"site": s.cmd.Site, "sent_at": time.Now().UnixMilli(),
		"language": "en-GB", "screen_w": 1920, "screen_h": 1080, "events": []any{e}})
	if err != nil {
		panic(err) // maps of plain values always encode
	}
	return b
}

// wait sleeps, or returns early when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
