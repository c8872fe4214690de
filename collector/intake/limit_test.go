package intake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"footfall/collector/sites"
	"footfall/event"
)

func TestAnAddressMaySendItsRate(t *testing.T) {
	t.Parallel()
	l := newLimiter(10)
	at := now
	a := netip.MustParseAddr("203.0.113.7")
	sent := 0
	for range 60 * 100 { // a minute, a try every 10 ms
		if l.over(a, at) == 0 {
			l.take(a, at, 1)
			sent++
		}
		at = at.Add(10 * time.Millisecond)
	}
	if want := 10*60 + 100; sent < want-2 || sent > want+2 {
		t.Errorf("%d events went through in a minute, want %d: the rate and one burst", sent, want)
	}
	l.take(a, at, 2)
	if wait := l.over(a, at); wait <= 0 || wait > time.Second {
		t.Errorf("the wait is %s", wait)
	}
	if l.over(netip.MustParseAddr("203.0.113.8"), at) != 0 {
		t.Error("another address has to wait too")
	}
	if l.over(a, at.Add(time.Hour)) != 0 {
		t.Error("an hour later it still has to wait")
	}
}

func TestANetworkOfIPv6CountsAsOneAndPrivateOnesNot(t *testing.T) {
	t.Parallel()
	l := newLimiter(1)
	l.take(netip.MustParseAddr("2001:db8:1:2::1"), now, 1000)
	if l.over(netip.MustParseAddr("2001:db8:1:2:ffff::9"), now) == 0 {
		t.Error("another address of the /64 may go on")
	}
	if l.over(netip.MustParseAddr("2001:db8:1:3::1"), now) != 0 {
		t.Error("the /64 beside it has to wait")
	}
	for _, private := range []string{"127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1", "fe80::1"} {
		l.take(netip.MustParseAddr(private), now, 1000)
		if l.over(netip.MustParseAddr(private), now) != 0 {
			t.Errorf("%s has to wait", private)
		}
	}
	l.take(netip.Addr{}, now, 1000)
	if l.over(netip.Addr{}, now) != 0 {
		t.Error("a Unix socket has to wait")
	}
}

// A flood from very many addresses takes no more memory, and does not free who owes.
func TestAFloodOfAddressesFitsTheTable(t *testing.T) {
	t.Parallel()
	l := newLimiter(1)
	bytes := uintptr(len(l.sets)) * unsafe.Sizeof(l.sets[0])
	if bytes > 1<<20 {
		t.Errorf("the table has %d bytes", bytes)
	}
	guilty := netip.MustParseAddr("203.0.113.7")
	l.take(guilty, now, 1_000_000)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100_000 {
				var b [16]byte
				b[0], b[1] = 0x20, byte(g)
				binary.BigEndian.PutUint32(b[4:], uint32(i))
				l.take(netip.AddrFrom16(b), now, 1)
			}
		})
	}
	wg.Wait()
	if l.over(guilty, now) == 0 {
		t.Error("the address that owes most was forgotten")
	}
}

func TestTooManyEventsOfAnAddressAreRefusedBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(func(o *Options) { o.AddressRate = 10 })
	r := post(`{"site":"shop","events":[` + strings.TrimSuffix(strings.Repeat("{},", 200), ",") + `]}`)
	r.peer = "203.0.113.7"
	if resp := r.send(s); resp.StatusCode() != 204 {
		t.Fatalf("the first envelope gets %d %s", resp.StatusCode(), resp.Body())
	}
	r.body = "no JSON"
	resp := r.send(s)
	if resp.StatusCode() != 429 || string(resp.Header.Peek("Retry-After")) != "10" {
		t.Errorf("the second gets %d, Retry-After %s", resp.StatusCode(), resp.Header.Peek("Retry-After"))
	}
	if s.count.refused[event.AddressRate].Get() != 1 || len(kept.records) != 200 {
		t.Error("the refusal is not counted, or something was stored")
	}
	pixel := request{method: "GET", uri: "/p.gif?site=shop", peer: "203.0.113.7"}
	if resp := pixel.send(s); resp.StatusCode() != 429 {
		t.Errorf("a pixel of the same address gets %d", resp.StatusCode())
	}
	r.peer = "203.0.113.8"
	r.body = `{"site":"shop"}`
	if resp := r.send(s); resp.StatusCode() != 204 {
		t.Errorf("another address gets %d", resp.StatusCode())
	}
}

func TestAHotSiteLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	s, _ := newTestServer(func(o *Options) {
		o.Sites = sites.Named("hot", "calm").Current
		o.Append = func(_ context.Context, records [][]byte) error {
			if strings.HasPrefix(string(records[0][2:]), "hot") || strings.Contains(string(records[0]), `"hot"`) {
				<-held
			}
			return nil
		}
	})
	var wg sync.WaitGroup
	statuses := make(chan int, siteShare+50)
	for range siteShare + 50 {
		wg.Go(func() { statuses <- post(`{"site":"hot"}`).send(s).StatusCode() })
	}
	for range 50 {
		if got := <-statuses; got != 503 {
			t.Errorf("beyond the share hot gets %d", got)
		}
	}
	if got := post(`{"site":"calm"}`).send(s).StatusCode(); got != 204 {
		t.Errorf("calm gets %d", got)
	}
	close(held)
	wg.Wait()
	if got := post(`{"site":"hot"}`).send(s).StatusCode(); got != 204 {
		t.Errorf("afterwards hot gets %d", got)
	}
}

func TestASiteHasARate(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(func(o *Options) {
		o.Sites, o.SiteRate = sites.Named("hot", "calm").Current, 5
	})
	got := map[int]int{}
	for range 60 {
		got[post(`{"site":"hot"}`).send(s).StatusCode()]++
	}
	if fmt.Sprint(got) != "map[204:51 429:9]" {
		t.Errorf("answers are %v, want ten seconds' worth", got)
	}
	if got := post(`{"site":"calm"}`).send(s).StatusCode(); got != 204 {
		t.Errorf("calm gets %d", got)
	}
}

// Whatever a request asks for, it counts for its address; and a wrong secret counts for a
// second.
func TestEveryRequestOfAnAddressCounts(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]request{
		"404":              {method: "GET", uri: "/nothing"},
		"405":              {method: "PUT", uri: "/e"},
		"405 of a path":    {method: "GET", uri: "/e"},
		"421":              {method: "GET", uri: "/p.gif?site=shop"},
		"400":              {method: "GET", uri: "x"},
		"a preflight":      {method: "OPTIONS", uri: "/api/events"},
		"the snippet":      {method: "GET", uri: "/f.js"},
		"405 of the API":   {method: "GET", uri: "/api/events"},
		"an unknown site":  post(`{"site":"other"}`),
		"what is no JSON":  post(`{`),
		"a pixel of ours":  {method: "GET", uri: "/p.gif?site=shop"},
		"a beacon of ours": post(`{"site":"shop"}`),
	} {
		s, _ := newTestServer(func(o *Options) {
			o.AddressRate = 10
			if name == "421" {
				o.Hosts = []string{"c.example"}
			}
		})
		r.peer = "203.0.113.7"
		for i := range 101 { // ten seconds' worth, and the one that passes the limit
			if got := r.send(s).StatusCode(); got == 429 {
				t.Fatalf("%s: request %d is refused already", name, i)
			}
		}
		resp := r.send(s)
		if resp.StatusCode() != 429 || string(resp.Header.Peek(reasonHeader)) != "address_rate" || len(resp.Header.Peek("Retry-After")) == 0 {
			t.Errorf("%s: the last gets %d %s", name, resp.StatusCode(), resp.Body())
		}
		r.peer = "10.0.0.7"
		if got := r.send(s).StatusCode(); got == 429 {
			t.Errorf("%s: a private address is limited", name)
		}
	}
}

func TestWrongSecretsAreLimitedHarder(t *testing.T) {
	t.Parallel()
	s, _, secret := newAPIServer(t)
	s.addresses = newLimiter(100)
	wrong := apiCase{body: `{}`, headers: []string{"Authorization", "Bearer ffs_guess"}}.request(secret)
	right := apiCase{body: `{}`}.request(secret)
	wrong.peer, right.peer = "203.0.113.7", "203.0.113.7"
	got := map[int]int{}
	for range 50 {
		got[wrong.send(s).StatusCode()]++
	}
	if got[401] > 11 || got[401] < 9 || got[401]+got[429] != 50 {
		t.Errorf("answers to wrong secrets are %v, want ten at once", got)
	}
	if resp := right.send(s); resp.StatusCode() != 200 {
		t.Errorf("the right secret from the same address gets %d %s", resp.StatusCode(), resp.Body())
	}
	wrong.peer = "203.0.113.8"
	if resp := wrong.send(s); resp.StatusCode() != 401 {
		t.Errorf("another address gets %d", resp.StatusCode())
	}
}

// What is no HTTP counts for its peer, but not for a proxy.
func TestWhatCannotBeReadCountsToo(t *testing.T) {
	t.Parallel()
	for peer, limited := range map[string]bool{"203.0.113.7": true, "198.51.100.1": false, "127.0.0.1": false} {
		s, _ := newTestServer(func(o *Options) {
			o.AddressRate, o.TrustedProxies = 1, []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}
		})
		got := map[int]int{}
		for range 20 {
			var ctx fasthttp.RequestCtx
			ctx.Init(&fasthttp.Request{}, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(peer), 1)), nil)
			s.refuseUnread(&ctx, errors.New("nonsense"))
			got[ctx.Response.StatusCode()]++
		}
		if limited != (got[429] > 5) || got[400] < 10 {
			t.Errorf("%s gets %v", peer, got)
		}
	}
}
