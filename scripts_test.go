package main

import (
	"slices"
	"strings"
	"testing"

	"footfall/collector/sites"
	"footfall/snippet"
)

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
	s, err := newScripts(sites.Named("shop", "blog"))
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
	_, rest, _ := strings.Cut(string(plain.Body), `"f-*.`)
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
