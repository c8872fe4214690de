package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"footfall/event"

	"github.com/valyala/fasthttp"
)

// answer is an event that was accepted, and when that was heard.
type answer struct {
	id event.UUID
	at time.Time
}

// connections of a generator: with an fsync of some milliseconds before each answer, enough
// for any rate that two cores can take.
const connections = 128

// generator sends beacons of one event each.
type generator struct {
	url    string
	client *fasthttp.HostClient
}

func newGenerator(addr string) *generator {
	return &generator{"http://" + addr + "/e", &fasthttp.HostClient{Addr: addr, MaxConns: connections,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}}
}

// open sends at a rate that does not care for answers, as visitors do; what is not yet
// answered at the end is waited for. A rate of 0 is as fast as answers come.
func (g *generator) open(ctx context.Context, rate float64, length time.Duration) ([]answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	var next atomic.Int64
	var sending sync.WaitGroup
	lists := make([][]answer, connections)
	for i := range lists {
		sending.Go(func() {
			for ctx.Err() == nil {
				due := time.Since(began)
				if rate > 0 {
					due = time.Duration(float64(next.Add(1)-1) / rate * float64(time.Second))
				}
				if due >= length {
					return
				}
				time.Sleep(due - time.Since(began))
				a, err := g.send()
				if err != nil {
					cancel(err)
					return
				}
				lists[i] = append(lists[i], a)
			}
		})
	}
	sending.Wait()
	var all []answer
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, context.Cause(ctx)
}

// send sends one event of some visitor of five thousand.
func (g *generator) send() (a answer, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	now, visitor := time.Now(), rand.IntN(5000)
	a.id = event.NewUUID(now)
	req.SetRequestURI(g.url)
	req.Header.SetMethod("POST")
	req.Header.SetContentType("text/plain;charset=UTF-8")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	req.Header.Set("Origin", "https://shop.example")
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("8.%d.%d.8", visitor/250, visitor%250))
	req.SetBodyString(fmt.Sprintf(`{"site":"demo","sent_at":%d,"language":"de-DE","screen_w":1536,"screen_h":864,`+
		`"viewport_w":1280,"viewport_h":720,"session_id":"%016x","timezone":"Europe/Berlin",`+
		`"events":[{"event_id":"%s","type":"pageview","url":"https://shop.example/shoes/red?utm_source=may",`+
		`"title":"Red shoes","referrer":"https://www.google.de/","pageview_id":"fedcba9876543210",`+
		`"props":{"plan":"pro","items":3,"variant":"b"}}]}`, now.UnixMilli(), visitor, a.id))
	if err = g.client.Do(req, resp); err != nil {
		return a, err
	}
	a.at = time.Now()
	if resp.StatusCode() != fasthttp.StatusNoContent {
		return a, fmt.Errorf("the collector answers %d: %s", resp.StatusCode(), resp.Body())
	}
	return a, nil
}
