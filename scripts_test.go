package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"footfall/collector/sites"
	"footfall/snippet"
)

var quiet = slog.New(slog.DiscardHandler)

func TestASiteMaySetEachRuleOfTheSnippet(t *testing.T) {
	var names []string
	for _, r := range snippet.Rules {
		if r.Name != "gpc" && r.Name != "dnt" { // settings of their own
			names = append(names, r.Name)
		}
	}
	if !slices.Equal(names, sites.SnippetRules) {
		t.Errorf("package snippet has %q, sites takes %q", names, sites.SnippetRules)
	}
}

func TestScriptsAreThoseOfTheSites(t *testing.T) {
	s, err := newScripts(sites.Named("shop", "blog"), snippet.Names{}, "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	plain, ok := s.find("f.js")
	if !ok || plain.Frozen || len(plain.Brotli) == 0 || len(plain.Zstd) == 0 {
		t.Fatalf("f.js: found %v, frozen %v", ok, plain.Frozen)
	}
	frozen, ok := s.find("f." + plain.Hash + ".js")
	if !ok || !frozen.Frozen || string(frozen.Body) != string(plain.Body) {
		t.Errorf("the frozen file: found %v, frozen %v", ok, frozen.Frozen)
	}
	if shop, ok := s.find("f.shop.js"); !ok || shop.Hash != plain.Hash {
		t.Errorf("f.shop.js: found %v with hash %s, want that of the defaults", ok, shop.Hash)
	}
	// The snippet asks for its extensions by a name that it was built with.
	_, rest, _ := strings.Cut(string(plain.Body), `"f-"+`)
	_, rest, _ = strings.Cut(rest, `".`)
	edition, _, _ := strings.Cut(rest, `"`)
	for _, name := range snippet.Extensions() {
		if ext, ok := s.find("f-" + name + "." + edition); !ok || !ext.Frozen {
			t.Errorf("f-%s.%s is not served for ever", name, edition)
		}
	}
	for _, name := range []string{"f.other.js", "g.js", "f.js.map", "f-none.js", ""} {
		if _, ok := s.find(name); ok {
			t.Errorf("%q is served", name)
		}
	}
}

func TestASiteWithRulesOfItsOwnHasASnippetOfItsOwn(t *testing.T) {
	list, err := sites.Parse([]byte("sites:\n  shop:\n    snippet: {forms: false}\n    query: [q]\n"))
	if err != nil {
		t.Fatal(err)
	}
	with, err := snippet.Build(snippet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	without, err := snippet.Build(optionsOf(list.Get("shop")))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(without.Core.Body), "form_id") || !strings.Contains(string(with.Core.Body), "form_id") {
		t.Error("forms are in the wrong one of the two")
	}
	if !strings.Contains(string(without.Core.Body), "|q)=") {
		t.Error("the site's query key is not kept")
	}
	if _, err := sites.Parse([]byte("sites:\n  shop:\n    snippet: {fomrs: false}\n")); err == nil {
		t.Error("a rule that does not exist was taken")
	}
}

func TestNamesOfAnInstallationStandForTheUsualOnes(t *testing.T) {
	s, err := newScripts(sites.Named("shop"), snippet.Names{Beacon: "in", Pixel: "i.gif", Script: "n"}, "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := s.find("n.js")
	if !ok {
		t.Fatal("n.js is not served")
	}
	for _, text := range []string{`"in"`, `"i.gif`, `"n-"+`} {
		if !strings.Contains(string(own.Body), text) {
			t.Errorf("%s is not in the snippet", text)
		}
	}
	_, rest, _ := strings.Cut(string(own.Body), `"n-"+`)
	_, rest, _ = strings.Cut(rest, `".`)
	edition, _, _ := strings.Cut(rest, `"`)
	for _, name := range []string{"f.js", "n.shop.js", "n." + own.Hash + ".js", "f." + own.Hash + ".js",
		"n-vitals." + edition, "n-vitals.js"} {
		if _, ok := s.find(name); !ok {
			t.Errorf("%s is not served", name)
		}
	}
	if _, ok := s.find("nn.js"); ok {
		t.Error("nn.js is served")
	}
}

func TestNamesThatMeanTwoThingsAreRefused(t *testing.T) {
	for _, good := range []string{"beacon=in", "pixel=a,script=b,beacon=c", " script=news , beacon=x.y"} {
		if _, err := readNames(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "in", "beacon=", "beacon=a/b", "beacon=..", "beacon=a,beacon=b", "bacon=a",
		"beacon=x,pixel=x", "beacon=p.gif", "beacon=n.js", "script=n.js", "script=a.b", "beacon=a?b",
		"beacon=" + strings.Repeat("x", 33)} {
		if n, err := readNames(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, n)
		}
	}
}

func TestAPinnedSnippetOutlivesAnUpgrade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pinned")
	old, err := newScripts(sites.Named("shop"), snippet.Names{}, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := old.find("f.js")
	pinned := "f." + plain.Hash + ".js"
	// An extension of then, which the pinned file asks for.
	if err := os.WriteFile(filepath.Join(dir, "f-vitals.01234567.js"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}

	// Other names make other bytes, as another version would.
	next := snippet.Names{Beacon: "in"}
	for _, c := range []struct {
		dir   string
		found bool
	}{{dir, true}, {"", false}} {
		s, err := newScripts(sites.Named("shop"), next, c.dir, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if now, _ := s.find("f.js"); now.Hash == plain.Hash {
			t.Fatal("the new version is the old one")
		}
		script, ok := s.find(pinned)
		if ok != c.found || ok && (!script.Frozen || len(script.Brotli) == 0) {
			t.Errorf("kept in %q: %s is found: %v", c.dir, pinned, ok)
		}
		if ok && string(script.Body) != string(plain.Body) {
			t.Error("the pinned file has other bytes now")
		}
		if script, ok := s.find("f-vitals.01234567.js"); ok != c.found || ok && string(script.Body) != "old" {
			t.Errorf("kept in %q: its extension is found: %v", c.dir, ok)
		}
	}

	if err := os.WriteFile(filepath.Join(dir, pinned), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := newScripts(sites.Named("shop"), next, dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pinned, "f.0123456789abcdef.js", "f.../secret.js"} {
		if _, ok := s.find(name); ok {
			t.Errorf("%s is served", name)
		}
	}
}
