package enrich

import (
	"strings"

	"footfall/event"
)

// The channels. An event that was reached from inside its own site has none: its
// visit's first event tells where it came from.
const (
	direct   = "direct"
	search   = "search"
	social   = "social"
	email    = "email"
	paid     = "paid"
	referral = "referral"
	campaign = "campaign"
)

// origin is a well-known place that visits come from.
type origin struct{ name, channel string }

// hosts names origins by host; subdomains count, the longest entry wins.
var hosts = map[string]origin{
	"duckduckgo.com": {"duckduckgo", search}, "ecosia.org": {"ecosia", search},
	"qwant.com": {"qwant", search}, "startpage.com": {"startpage", search},
	"search.brave.com": {"brave", search}, "kagi.com": {"kagi", search},
	"baidu.com": {"baidu", search}, "sogou.com": {"sogou", search},
	"naver.com": {"naver", search}, "seznam.cz": {"seznam", search},
	"bing.com": {"bing", search}, "ya.ru": {"yandex", search},
	"com.google.android.googlequicksearchbox": {"google", search},

	"facebook.com": {"facebook", social}, "fb.com": {"facebook", social},
	"fb.me": {"facebook", social}, "messenger.com": {"facebook", social},
	"instagram.com": {"instagram", social}, "threads.net": {"threads", social},
	"threads.com": {"threads", social}, "t.co": {"x", social}, "x.com": {"x", social},
	"twitter.com": {"x", social}, "linkedin.com": {"linkedin", social},
	"lnkd.in": {"linkedin", social}, "reddit.com": {"reddit", social},
	"youtube.com": {"youtube", social}, "youtu.be": {"youtube", social},
	"tiktok.com": {"tiktok", social}, "pinterest.com": {"pinterest", social},
	"pin.it": {"pinterest", social}, "snapchat.com": {"snapchat", social},
	"bsky.app": {"bluesky", social}, "mastodon.social": {"mastodon", social},
	"t.me": {"telegram", social}, "web.telegram.org": {"telegram", social},
	"whatsapp.com": {"whatsapp", social}, "vk.com": {"vk", social},
	"weibo.com": {"weibo", social}, "news.ycombinator.com": {"hackernews", social},
	"xing.com": {"xing", social}, "discord.com": {"discord", social},
	"com.reddit.frontpage": {"reddit", social}, "com.linkedin.android": {"linkedin", social},
	"org.telegram.messenger": {"telegram", social}, "com.slack": {"slack", referral},

	"mail.google.com": {"gmail", email}, "com.google.android.gm": {"gmail", email},
	"mail.yahoo.com": {"yahoo mail", email}, "outlook.live.com": {"outlook", email},
	"outlook.office.com": {"outlook", email}, "outlook.office365.com": {"outlook", email},
	"mail.proton.me": {"proton mail", email}, "mail.ru": {"mail.ru", email},
	"deref-mail.com": {"gmx", email}, "deref-gmx.net": {"gmx", email},
	"deref-web.de": {"web.de", email},

	"chatgpt.com": {"chatgpt", referral}, "perplexity.ai": {"perplexity", referral},
	"claude.ai": {"claude", referral}, "gemini.google.com": {"gemini", referral},
	"copilot.microsoft.com": {"copilot", referral},
}

// families are engines that stand under many countries: google.de, google.co.uk.
var families = map[string]origin{
	"google": {"google", search}, "yahoo": {"yahoo", search}, "yandex": {"yandex", search},
	"pinterest": {"pinterest", social},
}

// names finds an origin by what people write into utm_source.
var names = func() map[string]origin {
	m := map[string]origin{"newsletter": {"newsletter", email}, "ig": {"instagram", social},
		"fb": {"facebook", social}, "twitter": {"x", social}}
	for _, o := range hosts {
		m[o.name] = o
	}
	for _, o := range families {
		m[o.name] = o
	}
	return m
}()

// clickIDs are the query keys that advertisers and networks add to a link, by
// which one did. Only the key's name is ever stored.
var clickIDs = map[string]origin{
	"gclid": {"google", paid}, "gbraid": {"google", paid}, "wbraid": {"google", paid},
	"dclid": {"google", paid}, "msclkid": {"bing", paid}, "ttclid": {"tiktok", paid},
	"twclid": {"x", paid}, "li_fat_id": {"linkedin", paid}, "yclid": {"yandex", paid},
	"rdt_cid": {"reddit", paid}, "epik": {"pinterest", paid}, "sccid": {"snapchat", paid},
	"fbclid": {"facebook", social}, // on every link from Facebook, paid or not
}

func isClickID(key string) bool {
	_, ok := clickIDs[strings.ToLower(key)]
	return ok
}

// setSource fills source and channel from campaign keys, click id and referrer, in
// this order. Subdomains of a site are other sites here, www excepted.
func setSource(e *event.Event) {
	from := e.ReferrerHost
	if from != "" && withoutWWW(from) == withoutWWW(e.Hostname) {
		from = ""
		if e.UTMSource == "" && e.ClickIDType == "" {
			return
		}
	}
	came := origin{channel: direct}
	click, clicked := clickIDs[e.ClickIDType]
	tag := e.UTMSource
	if tag == "" {
		tag = refKey(e.Query)
	}
	switch {
	case tag != "":
		came = taggedOrigin(tag, from)
	case clicked:
		came = click
	case from != "":
		came = hostOrigin(from)
	case e.URL == "":
		came.channel = ""
	}
	if clicked && click.channel == paid {
		came.channel = paid
	}
	if c := mediumChannel(e.UTMMedium); c != "" {
		came.channel = c
	}
	if e.Type == event.EmailOpen || e.Type == event.EmailClick {
		came.channel = email
	}
	e.Source = e.Clean("source", came.name)
	e.Channel = came.channel
}

func taggedOrigin(tag, referrerHost string) origin {
	if o, ok := names[strings.ToLower(tag)]; ok {
		return o
	}
	if o := hostOrigin(strings.ToLower(tag)); o.channel != referral {
		return o
	}
	if referrerHost != "" && hostOrigin(referrerHost).channel == email {
		return origin{tag, email}
	}
	return origin{tag, campaign}
}

// mediumChannel reads utm_medium; words that say nothing about the channel return
// nothing.
func mediumChannel(medium string) string {
	m := strings.ToLower(medium)
	switch m {
	case "":
		return ""
	case "cpc", "ppc", "cpm", "cpv", "cpa", "display", "banner", "retargeting", "remarketing", "ads":
		return paid
	case "email", "e-mail", "mail", "newsletter":
		return email
	case "social", "social-media", "social_media", "sm", "social-network":
		return social
	case "organic":
		return search
	case "referral":
		return referral
	}
	if strings.HasPrefix(m, "paid") {
		return paid
	}
	return campaign
}

// hostOrigin names the place behind a referrer's host.
func hostOrigin(host string) origin {
	for rest := host; rest != ""; {
		if o, ok := hosts[rest]; ok {
			return o
		}
		label, after, _ := strings.Cut(rest, ".")
		if o, ok := families[label]; ok && publicSuffix(after) {
			return o
		}
		rest = after
	}
	return origin{withoutWWW(host), referral}
}

// publicSuffix reports whether s looks like com, de or co.uk.
func publicSuffix(s string) bool {
	first, second, two := strings.Cut(s, ".")
	if two {
		return len(first) <= 3 && len(second) == 2
	}
	return s != ""
}

func withoutWWW(host string) string { return strings.TrimPrefix(host, "www.") }

// refKey returns the value of ref or source in a cleaned query.
func refKey(query string) string {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key == "ref" || key == "source" {
			return unescape(value)
		}
	}
	return ""
}
