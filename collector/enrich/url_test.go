package enrich

import (
	"strings"
	"testing"

	"footfall/event"
)

func TestURLKeepsOnlyWhatTellsNothingAboutAPerson(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want, host, path, query, click string }{
		{"https://shop.example/a?b=1#c", "https://shop.example/a", "shop.example", "/a", "", ""},
		{"https://ann:secret@Shop.Example:8443/", "https://shop.example:8443/", "shop.example", "/", "",
			""},
		{"http://x.example/?email=a@b.c&utm_source=n&ref=z&id=9&source=q",
			"http://x.example/?utm_source=n&ref=z&source=q", "x.example", "/",
			"utm_source=n&ref=z&source=q", ""},
		{"https://x.example/p?utm_term=a%20b&gclid=secret", "https://x.example/p?utm_term=a%20b",
			"x.example", "/p", "utm_term=a%20b", "gclid"},
		{"https://x.example/?FBCLID=secret", "https://x.example/", "x.example", "/", "", "fbclid"},
		{"https://x.example/?gclid=", "https://x.example/", "x.example", "/", "", ""},
		{"https://xn--mnchen-3ya.example/a%2Fb/", "https://xn--mnchen-3ya.example/a%2Fb/",
			"xn--mnchen-3ya.example", "/a%2Fb/", "", ""},
		{"https://x.example/ä b", "https://x.example/%C3%A4%20b", "x.example", "/%C3%A4%20b", "", ""},
		{"https://[2001:DB8::1]:80/x", "https://[2001:db8::1]:80/x", "2001:db8::1", "/x", "", ""},
		{"https://x.example", "https://x.example", "x.example", "", "", ""},
		{"https://x.example/%zz?token=1#t", "https://x.example/%zz", "", "", "", ""},
		{"https://x.example/a#/%zz?token=1", "https://x.example/a", "x.example", "/a", "", ""},
		{"//ann:pw@x.example/a?t=1", "//x.example/a", "", "", "", ""},
		{"javascript:alert(1)", "javascript:alert(1)", "", "", "", ""},
		{"file:///C:/a.html?x#y", "file:///C:/a.html", "", "", "", ""},
		{"app://a:b@home?token=1", "app://home", "", "", "", ""},
		{"/just/a/path?token=1", "/just/a/path", "", "", "", ""},
		{"", "", "", "", "", ""},
	} {
		e := enrich(t, event.Event{URL: c.url}, Facts{})
		got := []string{e.URL, e.Hostname, e.Path, e.Query, e.ClickIDType}
		want := []string{c.want, c.host, c.path, c.query, c.click}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s:\n got %q\nwant %q", c.url, got, want)
		}
	}
}

func TestUTMFieldsComeFromTheQueryUnlessTheSenderSetThem(t *testing.T) {
	t.Parallel()
	e := enrich(t, event.Event{UTMMedium: "email", URL: "https://x.example/?utm_source=a+b%21" +
		"&utm_medium=cpc&utm_campaign=spring&utm_term=%zz&utm_content=" + strings.Repeat("y", 300)},
		Facts{})
	if e.UTMSource != "a b!" || e.UTMMedium != "email" || e.UTMCampaign != "spring" ||
		e.UTMTerm != "%zz" || len(e.UTMContent) != 255 {
		t.Errorf("got %q %q %q %q and %d bytes", e.UTMSource, e.UTMMedium, e.UTMCampaign, e.UTMTerm,
			len(e.UTMContent))
	}
}

func TestReferrerKeepsSchemeHostAndPath(t *testing.T) {
	t.Parallel()
	for referrer, want := range map[string][2]string{
		"https://a:b@News.Example/x?session=1#y": {"https://news.example/x", "news.example"},
		"https://www.google.de/":                 {"https://www.google.de/", "www.google.de"},
		"android-app://com.google.android.gm/?x": {"android-app://com.google.android.gm/",
			"com.google.android.gm"},
		"about:blank": {"about:blank", ""},
		"nonsense?q":  {"nonsense", ""},
	} {
		e := enrich(t, event.Event{Referrer: referrer}, Facts{})
		if e.Referrer != want[0] || e.ReferrerHost != want[1] {
			t.Errorf("%s: got %q, %q, want %q", referrer, e.Referrer, e.ReferrerHost, want)
		}
	}
}

func TestSourceAndChannelTellWhereAVisitCameFrom(t *testing.T) {
	t.Parallel()
	const page = "https://www.shop.example/"
	for _, c := range []struct {
		url, referrer, source, channel string
	}{
		{page, "", "", "direct"},
		{page, "https://shop.example/basket", "", ""},
		{page, "https://www.google.co.uk/", "google", "search"},
		{page, "https://news.google.com/x", "google", "search"},
		{page, "https://mail.google.com/mail/u/0/", "gmail", "email"},
		{page, "android-app://com.google.android.gm/", "gmail", "email"},
		{page, "https://duckduckgo.com/", "duckduckgo", "search"},
		{page, "https://l.facebook.com/l.php?u=1", "facebook", "social"},
		{page, "https://t.co/abc", "x", "social"},
		{page, "https://chatgpt.com/", "chatgpt", "referral"},
		{page, "https://www.blog.example/post", "blog.example", "referral"},
		{page, "https://google.attacker.example.org/", "google.attacker.example.org", "referral"},
		{page + "?utm_source=facebook&utm_medium=cpc", "", "facebook", "paid"},
		{page + "?utm_source=Newsletter", "", "newsletter", "email"},
		{page + "?utm_source=may&utm_medium=email", "", "may", "email"},
		{page + "?utm_source=may&utm_medium=qr", "https://www.google.de/", "may", "campaign"},
		{page + "?utm_source=may", "https://mail.google.com/", "may", "email"},
		{page + "?utm_source=google&utm_medium=organic", "", "google", "search"},
		{page + "?utm_medium=paid-social&utm_source=ig", "", "instagram", "paid"},
		{page + "?gclid=1", "https://www.google.com/", "google", "paid"},
		{page + "?fbclid=1", "", "facebook", "social"},
		{page + "?ref=producthunt", "https://shop.example/", "", ""},
		{page + "?ref=producthunt", "", "producthunt", "campaign"},
		{"", "", "", ""},
	} {
		e := enrich(t, event.Event{URL: c.url, Referrer: c.referrer}, Facts{})
		if e.Source != c.source || e.Channel != c.channel {
			t.Errorf("%s from %s: got %q, %q, want %q, %q", c.url, c.referrer, e.Source, e.Channel,
				c.source, c.channel)
		}
	}
	if e := enrich(t, event.Event{Type: event.EmailOpen}, Facts{}); e.Channel != "email" {
		t.Errorf("channel of an opened mail is %q, want email", e.Channel)
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://a:b@x.example:1/p?utm_source=a&b=c#d", "//u@h/?#",
		"http://[::1%25]/",
		"https://x.example/%zz?gclid=1", "android-app://a@b", "HTTPS://X./?ref=%", "a@b//c@d/e"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, url, referrer string) {
		e := event.Event{URL: url, Referrer: referrer}
		e.URL, e.Referrer = e.Clean("url", e.URL), e.Clean("referrer", e.Referrer)
		setPlace(&e, nil)
		setSource(&e)
		if strings.Contains(e.URL, "#") || strings.ContainsAny(e.Referrer, "?#") {
			t.Errorf("a fragment or a query is left: %q, %q", e.URL, e.Referrer)
		}
		_, query, _ := strings.Cut(e.URL, "?")
		for pair := range strings.SplitSeq(query, "&") {
			if key, _, _ := strings.Cut(pair, "="); query != "" && !keptKey(unescape(key), nil) {
				t.Errorf("key %q is left in %q", key, e.URL)
			}
		}
		for _, s := range []string{e.URL, e.Referrer} {
			bare, _, _ := strings.Cut(s, "?")
			if _, rest, ok := strings.Cut(bare, "//"); ok {
				if authority, _, _ := strings.Cut(rest, "/"); strings.Contains(authority, "@") {
					t.Errorf("userinfo is left in %q", s)
				}
			}
		}
		if len(e.URL) < 1000 && e.Hostname != "" {
			again := event.Event{URL: e.URL}
			setPlace(&again, nil)
			if again.URL != e.URL || again.Path != e.Path || again.Query != e.Query {
				t.Errorf("cleaning twice made %q of %q", again.URL, e.URL)
			}
		}
	})
}
