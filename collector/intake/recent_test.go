package intake

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"footfall/event"
)

// Very many sites, each refused very much: what is kept stays small, and every site that
// was refused lately finds something.
func TestRefusalsOfVeryManySitesAreBounded(t *testing.T) {
	var k recent
	detail := strings.Repeat("d", 10*detailMax)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for round := range 10 {
		for site := range 10_000 {
			k.note(Refused{Site: fmt.Sprintf("site-%d", site), Reason: event.SiteRate, Detail: fmt.Sprint(round, detail)})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if mib := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20; mib > 5 {
		t.Errorf("they take %d MiB", mib)
	}
	if k.all.Len() != refusalsKeptAll {
		t.Errorf("%d are kept, want %d", k.all.Len(), refusalsKeptAll)
	}
	if got := k.list("site-9000"); len(got) != 1 || !strings.HasPrefix(got[0].Detail, "9d") {
		t.Errorf("a site that was refused lately has %d", len(got))
	}
	if len(k.list("site-0")) != 0 || len(k.of) != refusalsKeptAll {
		t.Errorf("what was given up for others is still known: %d sites", len(k.of))
	}
}

func TestAFloodOfOneSiteLeavesTheRefusalsOfOthers(t *testing.T) {
	t.Parallel()
	var k recent
	k.note(Refused{Site: "calm", Detail: "why"})
	for i := range 100_000 {
		k.note(Refused{Site: "hot", Detail: fmt.Sprint(i)})
	}
	if got := k.list("calm"); len(got) != 1 || got[0].Detail != "why" {
		t.Errorf("calm has %v", got)
	}
	hot := k.list("hot")
	if len(hot) != refusalsKept || hot[0].Detail != "99999" || hot[refusalsKept-1].Detail != fmt.Sprint(100_000-refusalsKept) {
		t.Errorf("hot has %d, from %s to %s", len(hot), hot[0].Detail, hot[len(hot)-1].Detail)
	}
	if all := k.list(""); len(all) != refusalsKept || all[0].Site != "hot" {
		t.Errorf("all are %d", len(all))
	}
}

func TestADetailIsCutBetweenLetters(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("ж", 300), "x" + strings.Repeat("ж", 300), strings.Repeat("🙂", 99), "short"} {
		got := cut(text)
		if len(got) > detailMax || !utf8.ValidString(got) || !strings.HasPrefix(text, got) || len(text) > detailMax && len(got) < detailMax-3 {
			t.Errorf("%.20q is cut to %d bytes, valid %v", text, len(got), utf8.ValidString(got))
		}
	}
}
