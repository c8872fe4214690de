package enrich

import "strings"

// Why an event counts as sent by a program. Such events are flagged, never
// dropped: whoever reads the table decides.
const (
	noUserAgent = "no_user_agent"
	byUserAgent = "user_agent"
	imageProxy  = "image_proxy" // of a mail service: a person may be behind it
)

// botWords mark a program when they stand anywhere in the lower-case user agent.
// "bot" also is the end of a telephone maker's name; see botReasons.
var botWords = []string{
	"bot", "crawl", "spider", "slurp", "scrape", "scrapy", "archiver", "headless", "phantomjs",
	"selenium", "puppeteer", "playwright", "lighthouse", "pagespeed", "gtmetrix", "pingdom",
	"uptime", "statuscake", "monitoring", "curl/", "wget", "httpie", "postman", "insomnia", "python",
	"aiohttp", "httpx", "go-http-client", "java/", "apache-httpclient", "okhttp", "axios",
	"node-fetch", "node.js", "undici", "guzzle", "php/", "ruby", "perl", "libwww", "faraday",
	"dart:io", "k6/", "fasthttp", "facebookexternalhit", "meta-external", "whatsapp/",
	"skypeuripreview", "embedly", "iframely", "linkpreview", "google-inspectiontool", "googleother",
	"google-read-aloud", "feedfetcher", "mediapartners-google", "apis-google", "google favicon",
	"google-extended", "chatgpt-user", "oai-search", "claude-", "claudeweb", "anthropic",
	"perplexity", "bytespider", "cohere-ai", "mistralai", "validator", "feedly", "nutch",
	"masscan", "zgrab", "nmap", "nuclei", "nikto", "sqlmap",
}

var imageProxies = []string{"googleimageproxy", "ggpht.com", "yahoomailproxy", "yahoocachesystem"}

// botReasons returns nil for what looks like a browser. known is the base
// library's opinion.
func botReasons(text string, known bool) []string {
	lower := strings.ToLower(text)
	for _, w := range imageProxies {
		if strings.Contains(lower, w) {
			return []string{imageProxy}
		}
	}
	lower = strings.ReplaceAll(lower, "cubot", "")
	for _, w := range botWords {
		if strings.Contains(lower, w) {
			return []string{byUserAgent}
		}
	}
	if known || !strings.Contains(text, "(") { // every browser names its system in brackets
		return []string{byUserAgent}
	}
	return nil
}
