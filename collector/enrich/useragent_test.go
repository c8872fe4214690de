package enrich

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"footfall/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

const agentsFile = "testdata/useragents.tsv"

// The golden file is browser, version, system, version, device, reasons and, last,
// the user agent as it was sent.
func TestUserAgentsAreReadAsInTheGoldenFile(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile(agentsFile)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(string(golden), "\n"), "\n")
	for i, line := range lines {
		text := line[strings.LastIndexByte(line, '\t')+1:]
		a := parseAgent(text)
		got := strings.Join([]string{a.browser, a.browserVersion, a.os, a.osVersion, a.device,
			strings.Join(a.botReasons, ","), text}, "\t")
		fmt.Fprintln(&out, got)
		if got != line && !*update {
			t.Errorf("line %d:\n got %q\nwant %q", i+1, got, line)
		}
	}
	if len(lines) < 40 {
		t.Errorf("%d user agents in the golden file, at least 40 are wanted", len(lines))
	}
	if *update {
		if err := os.WriteFile(agentsFile, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoUserAgentIsABot(t *testing.T) {
	t.Parallel()
	e := enrich(t, event.Event{}, Facts{})
	if !e.Bot || len(e.BotReasons) != 1 || e.BotReasons[0] != "no_user_agent" {
		t.Errorf("bot %v for reasons %v, want no_user_agent", e.Bot, e.BotReasons)
	}
	if e.Device != "other" {
		t.Errorf("device is %q, want other", e.Device)
	}
}

func TestALongUserAgentIsCutBeforeItIsParsed(t *testing.T) {
	t.Parallel()
	e := enrich(t, event.Event{}, Facts{UserAgent: "curl/8 \xff\x00" + strings.Repeat("x(", 9000)})
	if len(e.UserAgent) > 512 || !e.Bot || e.Sanitised == 0 {
		t.Errorf("kept %d bytes, bot %v, sanitised %d", len(e.UserAgent), e.Bot, e.Sanitised)
	}
}

func TestCacheHoldsTwoGenerationsAtMost(t *testing.T) {
	t.Parallel()
	c := newAgentCache(100)
	often := c.get("often asked for")
	for i := range 1000 {
		c.get(fmt.Sprintf("agent %d", i))
		if c.get("often asked for") != often {
			t.Fatalf("what is asked for all the time was forgotten after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 200 {
		t.Errorf("cache holds %d agents, at most 200 fit", n)
	}
}

func FuzzUserAgent(f *testing.F) {
	golden, err := os.ReadFile(agentsFile)
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		f.Add(line[strings.LastIndexByte(line, '\t')+1:])
	}
	f.Fuzz(func(t *testing.T, text string) {
		var e event.Event
		n := &Enricher{agents: newAgentCache(1)}
		n.setAgent(&e, text)
		if e.Device == "" {
			t.Error("device is empty, want at least other")
		}
		if len(e.Browser) > 64 || len(e.BrowserVersion) > 32 || len(e.OSVersion) > 32 {
			t.Error("a field is longer than its column")
		}
		if strings.ToValidUTF8(e.Browser, "") != e.Browser {
			t.Error("browser is not valid UTF-8")
		}
	})
}

func TestTheCacheKeepsACopyOfAnAgent(t *testing.T) {
	t.Parallel()
	const lynx = "Lynx/2.8.9rel.1 libwww-FM/2.14"
	c := newAgentCache(2)
	request := []byte(lynx)
	first := c.get(unsafe.String(&request[0], len(request)))
	clear(request) // the next request's
	if again := c.get(lynx); again != first || again.browser != "Lynx" {
		t.Errorf("the cache has %+v, then %+v", first, again)
	}
}
