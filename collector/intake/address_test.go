package intake

import (
	"net/netip"
	"testing"

	"footfall/event"
)

var testProxies = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
}

func TestOnlyTrustedProxiesTellTheClientsAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
		bad        uint64
	}{
		{"direct", "192.0.2.1", nil, "192.0.2.1", 0},
		{"stranger lies", "192.0.2.1", []string{"198.51.100.7"}, "192.0.2.1", 0},
		{"proxy says nothing", "10.0.0.1", nil, "10.0.0.1", 0},
		{"one proxy", "10.0.0.1", []string{"198.51.100.7"}, "198.51.100.7", 0},
		{"client lies behind a proxy", "10.0.0.1", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7", 0},
		{"client lies in a line of its own", "10.0.0.1", []string{"1.2.3.4", "198.51.100.7"},
			"198.51.100.7", 0},
		{"two proxies", "10.0.0.1", []string{"1.2.3.4, 198.51.100.7 ,10.9.9.9"}, "198.51.100.7", 0},
		{"proxies only", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", 0},
		{"with port", "10.0.0.1", []string{"198.51.100.7:1234"}, "198.51.100.7", 0},
		{"six", "fd00::1", []string{"2001:db8::7"}, "2001:db8::7", 0},
		{"six in brackets", "10.0.0.1", []string{"[2001:db8::7]"}, "2001:db8::7", 0},
		{"six with port", "10.0.0.1", []string{"[2001:db8::7]:443"}, "2001:db8::7", 0},
		{"four in six", "10.0.0.1", []string{"::ffff:198.51.100.7"}, "198.51.100.7", 0},
		{"with zone", "10.0.0.1", []string{"fe80::1%eth0"}, "fe80::1", 0},
		{"Unix socket", "", []string{"198.51.100.7"}, "198.51.100.7", 0},
		{"garbage", "10.0.0.1", []string{"unknown"}, "10.0.0.1", 1},
		{"garbage to the right", "10.0.0.1", []string{"198.51.100.7, x"}, "10.0.0.1", 1},
		{"garbage to the left", "10.0.0.1", []string{"x, 198.51.100.7"}, "198.51.100.7", 0},
		{"empty", "10.0.0.1", []string{""}, "10.0.0.1", 1},
		{"comma at the end", "10.0.0.1", []string{"198.51.100.7,"}, "10.0.0.1", 1},
		{"unspecified", "10.0.0.1", []string{"0.0.0.0"}, "10.0.0.1", 1},
	} {
		var got Facts
		s, _ := newTestServer(func(o *Options) {
			o.TrustedProxies = testProxies
			o.Enrich = func(_ *event.Event, f Facts) { got = f }
		})
		r := post(`{"site":"shop"}`)
		r.peer = c.peer
		for _, line := range c.forwarded {
			r.headers = append(r.headers, "X-Forwarded-For", line)
		}
		if code := r.send(s).StatusCode(); code != 204 {
			t.Fatalf("%s: status %d", c.name, code)
		}
		if c.peer == "" {
			continue // RequestCtx.Init makes up a peer; forwardedFor is tested by the others
		}
		if got.IP != netip.MustParseAddr(c.want) || s.count.forwarded.Get() != c.bad {
			t.Errorf("%s: got %v and %d bad headers, want %s and %d", c.name, got.IP,
				s.count.forwarded.Get(), c.want, c.bad)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, text := range []string{"1.2.3.4", "1.2.3.4:5, [::1]:6,10.0.0.1", "fe80::1%eth0", ",,",
		"[", "[]:"} {
		f.Add([]byte(text))
	}
	s, _ := newTestServer(func(o *Options) { o.TrustedProxies = testProxies })
	f.Fuzz(func(t *testing.T, list []byte) {
		a, ok := s.forwardedFor(list)
		if ok != a.IsValid() {
			t.Fatalf("got %v, %v", a, ok)
		}
		if ok && (a.Is4In6() || a.Zone() != "" || a.IsUnspecified()) {
			t.Errorf("%v is no plain address", a)
		}
	})
}
