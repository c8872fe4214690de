package enrich

import (
	"slices"
	"strings"

	"github.com/mssola/useragent"

	"footfall/event"
)

// agent is what a user agent tells. Names are for grouping in SQL, so they are few
// and stable: an operating system is one of Windows, macOS, iOS, Android, Linux,
// ChromeOS or a television's.
type agent struct {
	browser, browserVersion string
	os, osVersion           string
	device                  string
	botReasons              []string
}

// The kinds of device.
const (
	desktop = "desktop"
	mobile  = "mobile"
	tablet  = "tablet"
	tv      = "tv"
	other   = "other"
)

func (n *Enricher) setAgent(e *event.Event, userAgent string) {
	e.UserAgent = e.Clean("user_agent", userAgent)
	a := n.agents.get(e.UserAgent)
	e.Browser = e.Clean("browser", a.browser)
	e.BrowserVersion = e.Clean("browser_version", a.browserVersion)
	e.OS = a.os
	e.OSVersion = e.Clean("os_version", a.osVersion)
	e.Device = a.device
	if e.BotReasons == nil {
		e.BotReasons = a.botReasons // shared by all events of the agent
	} else {
		e.BotReasons = slices.Concat(e.BotReasons, a.botReasons)
	}
	e.Bot = len(e.BotReasons) > 0
}

// parseAgent reads a user agent with mssola/useragent as base. The overlay knows
// what that library does not: browsers that carry another's name in front of
// theirs, tablets, televisions, today's bots, and frozen versions.
func parseAgent(text string) *agent {
	if strings.TrimSpace(text) == "" {
		return &agent{device: other, botReasons: []string{noUserAgent}}
	}
	base := parseBase(text)
	a := &agent{browser: base.browser, browserVersion: base.version}
	for _, b := range browsers {
		if v, ok := versionAfter(text, b.token); ok {
			a.browser, a.browserVersion = b.name, v
			break
		}
	}
	a.os, a.osVersion = system(text)
	a.device = deviceOf(text, a.os)
	a.botReasons = botReasons(text, base.bot)
	return a
}

type baseAgent struct {
	browser, version string
	bot              bool
}

// parseBase contains a panic of the library: what a stranger sends must not be
// able to reach further than its own event.
func parseBase(text string) (b baseAgent) {
	defer func() {
		if recover() != nil {
			b = baseAgent{}
		}
	}()
	ua := useragent.New(text)
	b.browser, b.version = ua.Browser()
	b.bot = ua.Bot()
	return b
}

// browsers are tokens that name the browser better than the library, the most
// special first: an app's page view says Chrome or Safari too.
var browsers = []struct{ token, name string }{
	{"Instagram ", "Instagram"}, {"FBAV/", "Facebook"}, {"FB_IAB/", "Facebook"},
	{"musical_ly_", "TikTok"}, {"BytedanceWebview/", "TikTok"}, {"trill_", "TikTok"},
	{"Snapchat/", "Snapchat"}, {"[Pinterest/", "Pinterest"}, {"LinkedInApp", "LinkedIn"},
	{"MicroMessenger/", "WeChat"}, {" Line/", "LINE"}, {"GSA/", "Google App"},
	{"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"Edg/", "Edge"}, {"Edge/", "Edge"},
	{"OPR/", "Opera"}, {"OPT/", "Opera"}, {"OPiOS/", "Opera"}, {"OPX/", "Opera"},
	{"Opera Mini/", "Opera Mini"}, {"SamsungBrowser/", "Samsung Internet"},
	{"YaBrowser/", "Yandex"}, {"Vivaldi/", "Vivaldi"}, {"DuckDuckGo/", "DuckDuckGo"},
	{"Ddg/", "DuckDuckGo"}, {"UCBrowser/", "UC Browser"}, {"Whale/", "Whale"},
	{"MiuiBrowser/", "MIUI Browser"}, {"HuaweiBrowser/", "Huawei Browser"},
	{"VivoBrowser/", "Vivo Browser"}, {"HeyTapBrowser/", "HeyTap Browser"},
	{"Silk/", "Silk"}, {"Electron/", "Electron"}, {"FxiOS/", "Firefox"}, {"Focus/", "Firefox"},
	{"Klar/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"},
	{"; wv)", "Android WebView"}, {"Firefox/", "Firefox"}, {"Chromium/", "Chromium"},
	{"Chrome/", "Chrome"},
}

// versionAfter reports whether text holds token, and the version behind it.
func versionAfter(text, token string) (version string, ok bool) {
	_, after, ok := strings.Cut(text, token)
	if !ok {
		return "", false
	}
	if token == "; wv)" {
		version, _ = versionAfter(text, "Chrome/")
		return version, true
	}
	return leadingVersion(after), true
}

// leadingVersion returns the digits, points and underscores at the start of s,
// joined by points.
func leadingVersion(s string) string {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || s[n] == '_') {
		n++
	}
	return strings.Trim(strings.ReplaceAll(s[:n], "_", "."), ".")
}

// system returns the operating system. Browsers froze versions for privacy: Windows
// 11 says 10.0, every macOS since 2020 says 10.15(.7), Chrome's Android says 10 with
// the model "K", Safari 26 says iOS 18.6. These are told with a plus: "10.15+".
func system(text string) (name, version string) {
	has := func(s string) bool { return strings.Contains(text, s) }
	after := func(s string) string { v, _ := versionAfter(text, s); return v }
	switch {
	case has("Windows Phone"):
		return "Windows Phone", after("Windows Phone ")
	case has("Windows NT"):
		return "Windows", windowsVersion(after("Windows NT "))
	case has("Windows"):
		return "Windows", ""
	case has("Tizen"):
		return "Tizen", after("Tizen ")
	case has("Web0S"), has("webOS"):
		return "webOS", ""
	case has("iPhone OS "):
		return "iOS", iosVersion(after("iPhone OS "))
	case has("iPad"), has("iPhone"), has("iPod"):
		return "iOS", after("CPU OS ")
	case has("AppleTV"), has("Apple TV"):
		return "tvOS", ""
	case has("Android"):
		if has("Android 10; K)") {
			return "Android", "10+"
		}
		return "Android", after("Android ")
	case has("CrOS "):
		return "ChromeOS", ""
	case has("Mac OS X"), has("Macintosh"):
		return "macOS", macVersion(after("Mac OS X "))
	case has("Linux"), has("X11"):
		return "Linux", ""
	}
	return "", ""
}

func windowsVersion(kernel string) string {
	switch kernel {
	case "10.0":
		return "10+"
	case "6.3":
		return "8.1"
	case "6.2":
		return "8"
	case "6.1":
		return "7"
	case "6.0":
		return "Vista"
	case "5.1", "5.2":
		return "XP"
	}
	return kernel
}

func iosVersion(v string) string {
	if v == "18.6" {
		return "18.6+"
	}
	return v
}

func macVersion(v string) string {
	if v == "10.15" || v == "10.15.7" {
		return "10.15+"
	}
	return v
}

// tvTokens stand in the agents of televisions and the boxes beside them.
var tvTokens = []string{"SmartTV", "SMART-TV", "Smart TV", "Smart-TV", "AppleTV", "Apple TV",
	"GoogleTV", "Google TV", "Android TV", "AndroidTV", "BRAVIA", "CrKey", "Roku", "HbbTV", "NetCast",
	"Web0S", "AFTS", "AFTT", "AFTM", "AFTB", "AFTN", "AFTK", "AFTR", "PlayStation", "Xbox",
	"Nintendo"}

// deviceOf tells the kind of device. An iPad that asks for desktop pages calls
// itself a Macintosh and counts as desktop.
func deviceOf(text, os string) string {
	for _, t := range tvTokens {
		if strings.Contains(text, t) {
			return tv
		}
	}
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("iPad"), has("Tablet"), has("Kindle"), has("Silk/") && !has("Mobile"):
		return tablet
	case has("Mobile"), has("iPhone"), has("iPod"), has("Opera Mini"), os == "Windows Phone":
		return mobile
	case os == "Android":
		return tablet // Android says Mobile on telephones only
	case os == "Windows", os == "macOS", os == "Linux", os == "ChromeOS":
		return desktop
	}
	return other
}
