package sites

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSitesAreReadWithEverythingTheyWant(t *testing.T) {
	secret, hash := NewSecret()
	list, err := Parse([]byte(`
log_level: info
sites:
  shop:
    hostnames: [Shop.example, "*.shop.example"]
    ip: cut
    query: [q]
    gpc: false
    dnt: true
    bots: refuse
    rate: 12.5
    secrets: ["` + hash + `"]
  blog:
`))
	if err != nil {
		t.Fatal(err)
	}
	s := list.Get("shop")
	if s.IP != IPCut || s.GPC || !s.DNT || s.Bots != BotsRefuse || s.Rate != 12.5 || s.Query[0] != "q" {
		t.Errorf("shop is %+v", s)
	}
	for host, want := range map[string]bool{"shop.example": true, "a.b.shop.example": true,
		"evilshop.example": false, "shop.example.evil.example": false, "": false, "null": false} {
		if got := s.Allows(host); got != want {
			t.Errorf("Allows(%q) = %v", host, got)
		}
	}
	if b := list.Get("blog"); b.IP != IPNone || !b.GPC || !b.Allows("any.example") {
		t.Errorf("blog is %+v, want the defaults", b)
	}
	if list.BySecret([]byte(secret)) != s || list.BySecret([]byte(secret+"x")) != nil {
		t.Error("the secret does not open its site, or another one does")
	}
	if got := strings.Join(list.Names(), " "); got != "blog shop" {
		t.Errorf("names are %s", got)
	}
}

func TestEveryProblemOfSitesIsToldWithItsLine(t *testing.T) {
	_, hash := NewSecret()
	for _, c := range []struct{ file, want string }{
		{"sites:\n  shop:\n    hostname: [a]", "line 3: shop.hostname is no setting of a site"},
		{"sites:\n  shop:\n    hostnames: [https://a.example]", "line 3: shop.hostnames has"},
		{"sites:\n  shop:\n    hostnames: []", "line 3: shop.hostnames is empty"},
		{"sites:\n  shop:\n    hostnames: {a: b}", "line 3: shop.hostnames has to be a list"},
		{"sites:\n  shop:\n    ip: all", "line 3: shop.ip has to be one of none, cut, full"},
		{"sites:\n  shop:\n    gpc: maybe", "line 3: shop.gpc has to be true or false"},
		{"sites:\n  shop:\n    rate: 0", "line 3: shop.rate has to be a number"},
		{"sites:\n  shop:\n    rate: .nan", "line 3: shop.rate has to be a number"},
		{"sites:\n  shop:\n    secrets: [hunter2]", "line 3: shop.secrets [0] is no hash"},
		{"sites:\n  a: {secrets: ['" + hash + "']}\n  b: {secrets: ['" + hash + "']}",
			"line 3: b has a secret of a"},
		{"sites:\n  'sh op': {}", "line 2: "},
		{"sites:\n  shop: yes", "line 2: shop has to be a mapping"},
		{"sites: {}", "0 sites, want 1"},
		{"sites:\n  shop:\n  shop:", "already defined"},
		{"sites:\n\tshop:", "character"},
	} {
		list, err := Parse([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
		}
	}
	_, err := Parse([]byte("sites:\n  shop:\n    ip: all\n    bots: shoot"))
	if err == nil || strings.Count(err.Error(), "line ") != 2 {
		t.Errorf("two problems are told as %v", err)
	}
	for _, plain := range []string{"", "sites: [a, b]", "sites: a,b", "log_level: info"} {
		if list, err := Parse([]byte(plain)); list != nil || err != nil {
			t.Errorf("%q is taken for a mapping of sites: %v", plain, err)
		}
	}
}

func TestAChangedFileIsReadAgainAndABadOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "footfall.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sites:\n  shop:")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := OpenFile(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		look := func() { // two turns of the watch
			for range 2 {
				<-time.After(every)
			}
			synctest.Wait()
		}
		write("sites:\n  shop:\n  blog:")
		if look(); s.Current().Get("blog") == nil {
			t.Error("the new site is not known")
		}
		write("sites:\n  shop:") // an editor is not through with it
		<-time.After(every)
		synctest.Wait()
		write("sites:\n  shop:\n  blog:")
		if s.Current().Get("blog") == nil {
			t.Error("half a file is in force")
		}
		write("sites:\n  shop:\n    ip: all")
		if look(); s.Current().Get("blog") == nil || s.Err() == nil ||
			!strings.Contains(s.Err().Error(), "line 3") {
			t.Errorf("a bad file took the sites away, or is not told: %v", s.Err())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if look(); s.Current().Get("blog") == nil || s.Err() == nil {
			t.Errorf("a missing file took the sites away, or is not told: %v", s.Err())
		}
		write("sites:\n  shop:")
		if look(); s.Current().Get("blog") != nil || s.Err() != nil {
			t.Errorf("the mended file is not in force: %v", s.Err())
		}
		cancel()
		<-done
	})
	write("sites:\n  shop: 1")
	if _, err := OpenFile(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a start with a bad file goes well")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("sites:\n  shop:\n    hostnames: [a.example]\n    rate: 1e3\n"))
	f.Add([]byte("sites: &a\n  shop: *a\n"))
	f.Add([]byte("sites:\n  <<: {shop: {}}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if list, err := Parse(file); err == nil && list != nil && len(list.Names()) == 0 {
			t.Errorf("%q gives no sites and no error", file)
		}
	})
}

func TestJSONIsYAMLToo(t *testing.T) {
	t.Parallel()
	list, err := Parse([]byte(`{"sites": {"shop": {"gpc": false, "snippet": {"hash": true}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if list == nil || list.Get("shop") == nil {
		t.Fatal("the sites were not found")
	}
	if s := list.Get("shop"); s.GPC || !s.Snippet["hash"] {
		t.Errorf("got %+v", s)
	}
}
