package intake

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

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
