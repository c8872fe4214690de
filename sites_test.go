package main

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestSitesOfTheFileAreNamedWithWhatTheyWant(t *testing.T) {
	clean(t)
	file := writeFile(t, "sites:\n  shop: {hostnames: ['*.shop.example']}\n  blog:\n")
	c, err := settings(t, "up", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Up.Sites, siteList{"blog", "shop"}) {
		t.Errorf("sites %v", c.Up.Sites)
	}
	p := &program{settings: file, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	source, err := c.Up.source(p)
	if err != nil || source.Current().Get("shop").Allows("evil.example") {
		t.Errorf("the rules are not in force: %v", err)
	}
	if got, err := originOf(p, "shop"); got != "https://www.shop.example" || err != nil {
		t.Errorf("origin of shop is %q, %v", got, err)
	}
	if got, err := originOf(p, "blog"); got != "" || err != nil {
		t.Errorf("origin of blog is %q, %v", got, err)
	}
	t.Setenv("FOOTFALL_SITES", "news")
	if c, err = settings(t, "up", "--config", file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Up.source(p); err == nil || !strings.Contains(err.Error(), "sites stand twice") {
		t.Errorf("sites that stand twice: %v", err)
	}
}

func TestAMistakeInTheSitesIsToldWithTheOthers(t *testing.T) {
	clean(t)
	file := writeFile(t, "sites:\n  shop: {ip: all}\n  sh op:\n")
	_, err := settings(t, "collector", "--config", file, "--listen", "here")
	for _, want := range []string{"line 2: shop.ip has to be", "line 3: sh op is no name", `"here" is not host:port`,
		"no brokers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\nin: %v", want, err)
		}
	}
}

func TestASecretIsShownWithItsHash(t *testing.T) {
	clean(t)
	var out strings.Builder
	if err := (secretCmd{}).Run(t.Context(), &program{out: &out}); err != nil {
		t.Fatal(err)
	}
	var hash string
	for field := range strings.FieldsSeq(out.String()) {
		if strings.HasPrefix(field, `["sha256:`) {
			hash = strings.Trim(field, `[]"`)
		}
	}
	file := writeFile(t, "sites:\n  shop:\n    secrets: ["+hash+"]\n")
	list, err := readRules(file)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Fields(out.String()[strings.Index(out.String(), "ffs_"):])[0]
	if s := list.BySecret([]byte(secret)); s == nil || s.Name != "shop" {
		t.Errorf("the secret %q does not open the site", secret)
	}
}
