package intake

import (
	"context"
	"strings"
	"testing"

	"footfall/event"
)

// What enriching and storing get stays as it was when the request's memory is gone; under
// -race poison makes sure that it is.
func TestNothingOfARequestOutlivesItsHandler(t *testing.T) {
	t.Parallel()
	var events []event.Event
	var facts []Facts
	var records [][]byte
	s, _ := newTestServer(func(o *Options) {
		o.Enrich = func(e *event.Event, f Facts) { events, facts = append(events, *e), append(facts, f) }
		o.Append = func(_ context.Context, r [][]byte) error {
			records = append(records, r...)
			return ErrFull // the records are ours for ever then
		}
	})
	post(`{"site":"shop","title":"A title","url":"https://shop.example/a","session_id":"s1",`+
		`"props":{"plan":"pro"},"utm_source":"may"}`, "User-Agent", "Lynx", "Accept-Language", "de").send(s)
	request{method: "GET", uri: "/p.gif?site=shop&title=A+title&session_id=s1&utm_source=may&props.plan=pro",
		headers: []string{"Referer", "https://shop.example/a", "User-Agent", "Lynx", "Accept-Language", "de"}}.send(s)
	if len(events) != 2 || len(records) != 2 {
		t.Fatalf("%d events, %d records", len(events), len(records))
	}
	for i, e := range events {
		if e.Site != "shop" || e.Title != "A title" || e.URL != "https://shop.example/a" || e.SessionID != "s1" ||
			e.UTMSource != "may" || string(e.Props) != `{"plan":"pro"}` {
			t.Errorf("event %d is %+v", i, e)
		}
		if facts[i].UserAgent != "Lynx" || facts[i].AcceptLanguage != "de" {
			t.Errorf("facts %d are %+v", i, facts[i])
		}
		if strings.Contains(string(records[i]), "!") || !strings.Contains(string(records[i]), "A title") {
			t.Errorf("record %d is %s", i, records[i])
		}
	}
}
