package site

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestStreamShowsWhatWasThereAndThenEachNewEventInOrder(t *testing.T) {
	t.Parallel()
	tb := &table{}
	tb.add(70, "")
	server, _, _ := startLive(t, tb)
	stream := watch(t, server)
	wantIDs(t, stream.ids("past", backlogMax), 70-backlogMax)
	for range 30 {
		tb.add(10, `{"a":1}`)
	}
	wantIDs(t, stream.ids("event", 300), 70)

	second := watch(t, server)
	wantIDs(t, second.ids("past", backlogMax), 370-backlogMax)
}

func TestTheFirstEventOfAnEmptyTableIsNew(t *testing.T) {
	t.Parallel()
	tb := &table{}
	server, _, _ := startLive(t, tb)
	stream := watch(t, server)
	stream.until("status")
	waitFor(t, func() bool { return tb.readCount() > 1 })
	tb.add(1, "")
	if name, _ := stream.next(); name != "event" {
		t.Errorf("came as %q, want event", name)
	}
}

func TestAnEventsTextCannotEndItsMessageOrBecomeMarkup(t *testing.T) {
	t.Parallel()
	tb := &table{}
	tb.add(1, `{"note":"<img src=x onerror=alert(1)>",
		"b":"\n\nevent: status"}`)
	server, _, _ := startLive(t, tb)
	data := watch(t, server).until("past")
	if strings.ContainsAny(data, "<>") {
		t.Errorf("markup in %s", data)
	}
	var ev wireEvent
	if err := json.Unmarshal([]byte(data), &ev); err != nil {
		t.Fatal(err)
	}
	if ev.Path != "</script><b>\n\ndata: x" || ev.LoadedAt-ev.ReceivedAt != 60 {
		t.Errorf("got %+v", ev)
	}
}

func TestPagesAndScriptsNeverTurnEventTextIntoMarkup(t *testing.T) {
	t.Parallel()
	server, _, _ := startLive(t, &table{})
	r, page := get(t, server, "/live")
	if policy := r.Header.Get("Content-Security-Policy"); policy != livePolicy {
		t.Errorf("policy %q", policy)
	}
	if strings.Contains(page, "f.js") || strings.Contains(page, "data-site") {
		t.Error("the live page is tracked")
	}
	for _, name := range []string{"live.js", "shop.js"} {
		_, script := get(t, server, "/static/"+name)
		for _, word := range []string{
			"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
			"DOMParser", "setHTML", "new Function",
		} {
			if strings.Contains(script, word) {
				t.Errorf("%s uses %s", name, word)
			}
		}
	}
}

func TestAnEventWithBrokenPropsIsShownWithoutThem(t *testing.T) {
	t.Parallel()
	tb := &table{}
	tb.add(1, `{"a":`)
	tb.add(1, `{}`)
	server, _, _ := startLive(t, tb)
	wantIDs(t, watch(t, server).ids("past", 2), 0)
}

func TestStreamSaysWhenTheDatabaseIsAwayAndGoesOnAfterwards(t *testing.T) {
	t.Parallel()
	tb := &table{}
	tb.add(1, "")
	server, _, _ := startLive(t, tb)
	stream := watch(t, server)
	stream.until("past")
	tb.setAway(true)
	if got := stream.until("status"); got != `{"database":"away"}` {
		t.Fatalf("status %s", got)
	}
	tb.add(3, "")
	tb.setAway(false)
	if got := stream.until("status"); got != `{"database":"here"}` {
		t.Fatalf("status %s", got)
	}
	wantIDs(t, stream.ids("event", 3), 1)
}

func TestNobodyWatchingMeansNoReads(t *testing.T) {
	t.Parallel()
	tb := &table{}
	server, s, _ := startLive(t, tb)
	if n := tb.readCount(); n != 0 {
		t.Errorf("%d reads before anybody watched", n)
	}
	stream := watch(t, server)
	waitFor(t, func() bool { return tb.readCount() > 2 })
	stream.close()
	waitFor(t, func() bool { return s.hub.len() == 0 })
	// A read that had begun may still end.
	before := tb.readCount()
	time.Sleep(50 * time.Millisecond)
	if n := tb.readCount(); n > before+1 {
		t.Errorf("%d reads after the last watcher had left", n-before)
	}
}

func TestASlowWatcherIsDroppedAndTheOthersMissNothing(t *testing.T) {
	t.Parallel()
	tb := &table{}
	server, s, _ := startLive(t, tb)
	slow, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// It asks and never reads; with a small window that shows soon.
	if err := slow.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(slow, "GET /live/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.hub.len() == 1 })
	stream := watch(t, server)
	stream.until("status")
	waitFor(t, func() bool { return tb.readCount() > 1 })
	props := `{"x":"` + strings.Repeat("x", 20_000) + `"}`
	const batch = 10
	total := 0
	for s.counters.dropped.Get() == 0 && total < 400*batch {
		tb.add(batch, props)
		wantIDs(t, stream.ids("event", batch), total)
		total += batch
	}
	if got := s.counters.dropped.Get(); got != 1 {
		t.Fatalf("%d watchers dropped after %d events, want 1", got, total)
	}
	if got := s.hub.len(); got != 1 {
		t.Errorf("%d watchers left, want 1", got)
	}
}

func TestMoreEventsThanCanBeShownMakeTheViewJumpToTheNewest(t *testing.T) {
	t.Parallel()
	tb := &table{}
	server, _, _ := startLive(t, tb)
	stream := watch(t, server)
	stream.until("status")
	waitFor(t, func() bool { return tb.readCount() > 1 })
	tb.add(pollRows*(fullPollsMax+5), "")
	wantIDs(t, stream.ids("event", pollRows*fullPollsMax), 0)
	if name, _ := stream.next(); name != "jump" {
		t.Fatalf("then %q, want jump", name)
	}
	wantIDs(t, stream.ids("past", backlogMax), pollRows*(fullPollsMax+5)-backlogMax)
}

func TestStoppingEndsEveryStreamAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	server, _, stop := startLive(t, &table{})
	stream := watch(t, server)
	stream.until("status")
	stop()
	for stream.lines.Scan() {
	}
	if err := stream.lines.Err(); err != nil {
		t.Errorf("stream ended with %v, want a clean end", err)
	}
	r, _ := get(t, server, "/live/events")
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, want 503 with Retry-After", r.StatusCode)
	}
}

func TestTooManyWatchersAreRefused(t *testing.T) {
	t.Parallel()
	h := newHub()
	for range watchersMax {
		if _, _, err := h.join(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.join(); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func TestEventsReadForAnEarlierGenerationAreNotShown(t *testing.T) {
	t.Parallel()
	h := newHub()
	w, _, err := h.join()
	if err != nil {
		t.Fatal(err)
	}
	old := h.current()
	h.leave(w)
	if _, first, err := h.join(); err != nil || len(first) != 1 {
		t.Fatalf("first %v, err %v", first, err)
	}
	h.publish(old, "event", [][]byte{[]byte(`{}`)})
	if len(h.newest) != 0 {
		t.Error("an event of an earlier generation was kept")
	}
}
