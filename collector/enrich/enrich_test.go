package enrich

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/event"
)

// shared is one Enricher for all tests: the country database takes 50 ms to unpack.
var shared = sync.OnceValues(func() (*Enricher, error) { return New(Options{}) })

func enrich(t *testing.T, e event.Event, f Facts) event.Event {
	t.Helper()
	n, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	n.Enrich(&e, f)
	return e
}

func TestCountryComesFromTheAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"193.99.144.80":        "DE", // heise
		"212.58.244.20":        "GB", // BBC
		"130.59.1.1":           "CH", // SWITCH
		"18.0.0.1":             "US",
		"2001:620::1":          "CH",
		"::ffff:193.99.144.80": "DE",
		"127.0.0.1":            "",
		"10.1.2.3":             "",
		"192.168.1.1":          "",
		"169.254.1.1":          "",
		"::1":                  "",
		"fd00::1":              "",
		"fe80::1%eth0":         "",
		"224.0.0.1":            "",
		"0.0.0.0":              "",
	} {
		e := enrich(t, event.Event{Site: "shop"}, Facts{IP: netip.MustParseAddr(address)})
		if e.Country != want {
			t.Errorf("country of %s is %q, want %q", address, e.Country, want)
		}
		if e.IP != "" {
			t.Errorf("the address %s was stored", e.IP)
		}
	}
}

func TestAMissingCountryFileIsAnError(t *testing.T) {
	t.Parallel()
	_, err := New(Options{CountryDB: filepath.Join(t.TempDir(), "none.mmdb")})
	if err == nil || !strings.Contains(err.Error(), "open country database") {
		t.Errorf("got %v, want an error that names the country database", err)
	}
}

func TestLanguageAndGPCComeFromTheHeadersUnlessTheSenderSaid(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"de-DE,de;q=0.9,en;q=0.8": "de-DE", "en;q=0.5": "en", "*": "", "": "", "<script>": "",
		" fr-CH , fr": "fr-CH",
	} {
		if e := enrich(t, event.Event{}, Facts{AcceptLanguage: header}); e.Language != want {
			t.Errorf("language of %q is %q, want %q", header, e.Language, want)
		}
	}
	e := enrich(t, event.Event{Language: "pt", GPC: true}, Facts{AcceptLanguage: "de"})
	if e.Language != "pt" || !e.GPC {
		t.Errorf("language %q, gpc %v: the sender said pt and true", e.Language, e.GPC)
	}
	e = enrich(t, event.Event{SessionID: "s", UserID: "u"},
		Facts{GPC: true, IP: netip.MustParseAddr("192.0.2.1")})
	if !e.GPC || e.VisitorID+e.SessionID+e.UserID != "" {
		t.Errorf("the header Sec-GPC was not heeded: %+v", e)
	}
}

// clock is a settable one.
type clock struct{ unix atomic.Int64 }

func (c *clock) now() time.Time         { return time.Unix(c.unix.Load(), 0) }
func (c *clock) set(t time.Time)        { c.unix.Store(t.Unix()) }
func day(d int, h int) time.Time        { return time.Date(2026, 3, d, h, 0, 0, 0, time.UTC) }
func ip(s string) netip.Addr            { return netip.MustParseAddr(s) }
func (s *salts) id(a, ua string) string { return s.idOf("shop", a, ua) }

func (s *salts) idOf(site, a, ua string) string {
	id := s.visitorID(site, ip(a), ua)
	return string(id[:])
}

func openTestSalts(t *testing.T, file string, c *clock) *salts {
	t.Helper()
	s, err := openSalts(file, c.now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.saves.Wait)
	return s
}

func TestVisitorIDIsTheSameForOneNetworkAndAgentOnOneDay(t *testing.T) {
	t.Parallel()
	c := &clock{}
	c.set(day(4, 9))
	s := openTestSalts(t, "", c)
	id := s.id("192.0.2.7", "Firefox")
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("visitor id is %q, want 16 hex digits", id)
	}
	if s.id("192.0.2.200", "Firefox") != id {
		t.Error("another address of the same /24 is another visitor")
	}
	if s.id("2001:db8:1:2::3", "Firefox") != s.id("2001:db8:1:ffff::9", "Firefox") {
		t.Error("another address of the same /48 is another visitor")
	}
	others := []string{s.id("192.0.3.7", "Firefox"), s.id("192.0.2.7", "Chrome"),
		s.id("2001:db8:2::1", "Firefox"), s.idOf("blog", "192.0.2.7", "Firefox"),
		openTestSalts(t, "", c).id("192.0.2.7", "Firefox")}
	c.set(day(5, 0))
	others = append(others, s.id("192.0.2.7", "Firefox"))
	for i, other := range others {
		if other == id {
			t.Errorf("case %d has the same visitor id, want another", i)
		}
	}
}

func TestSaltSurvivesARestartWithinItsDayOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "salt.json")
	c := &clock{}
	c.set(day(4, 9))
	id := openTestSalts(t, file, c).id("192.0.2.7", "Firefox")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("salt file: %v, mode %v, want 0600", err, info.Mode())
	}
	c.set(day(4, 23))
	again := openTestSalts(t, file, c)
	if again.id("192.0.2.7", "Firefox") != id {
		t.Error("a restart on the same day made another visitor of the same")
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c.set(day(5, 1))
	next := again.id("192.0.2.7", "Firefox")
	again.saves.Wait()
	after, err := os.ReadFile(file)
	if err != nil || string(after) == string(before) {
		t.Fatalf("yesterday's salt still is in the file (%v)", err)
	}
	if openTestSalts(t, file, c).id("192.0.2.7", "Firefox") != next {
		t.Error("the new day's salt did not survive a restart")
	}
	if files, _ := os.ReadDir(filepath.Dir(file)); len(files) != 1 {
		t.Errorf("%d files beside the salt, want it alone", len(files))
	}
}

func TestAClockSetBackOverMidnightKeepsTheSalt(t *testing.T) {
	t.Parallel()
	c := &clock{}
	c.set(day(5, 0))
	s := openTestSalts(t, "", c)
	id := s.id("192.0.2.7", "Firefox")
	c.set(day(4, 23))
	if s.id("192.0.2.7", "Firefox") != id {
		t.Error("a clock that was set back an hour made another visitor of the same")
	}
}

func TestADamagedSaltFileIsReplacedAndAnUnreadableOneIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "salt.json")
	if err := os.WriteFile(file, []byte(`{"day":"2026-03-04","salt":"c2hvcnQ="}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &clock{}
	c.set(day(4, 9))
	id := openTestSalts(t, file, c).id("192.0.2.7", "x")
	if openTestSalts(t, file, c).id("192.0.2.7", "x") != id {
		t.Error("the damaged salt file was not replaced")
	}
	if _, err := New(Options{SaltFile: t.TempDir(), Now: c.now}); err == nil {
		t.Error("a directory was taken for a salt file")
	}
}

func TestWithoutAnAddressThereIsNoVisitor(t *testing.T) {
	t.Parallel()
	if e := enrich(t, event.Event{Site: "shop"}, Facts{UserAgent: "Firefox"}); e.VisitorID != "" {
		t.Errorf("visitor id is %q without an address, want none", e.VisitorID)
	}
}

func TestManyGoroutinesGetOneSaltOnANewDay(t *testing.T) {
	t.Parallel()
	c := &clock{}
	c.set(day(4, 23))
	s := openTestSalts(t, filepath.Join(t.TempDir(), "salt.json"), c)
	c.set(day(5, 0))
	var ids sync.Map
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() { ids.Store(s.id("192.0.2.7", "Firefox"), true) })
	}
	group.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d visitor ids for one visitor, want 1", n)
	}
}

func BenchmarkEnrich(b *testing.B) {
	n, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	facts := Facts{IP: ip("193.99.144.80"), AcceptLanguage: "de-DE,de;q=0.9",
		UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/141.0.0.0 Safari/537.36"}
	b.ReportAllocs()
	for b.Loop() {
		e := event.Event{Site: "shop", URL: "https://shop.example/shoes?utm_source=news&id=7",
			Referrer: "https://www.google.de/"}
		n.Enrich(&e, facts)
	}
}
