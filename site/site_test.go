package site

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const collector = "http://collector.example:8080"

func newTestSite(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(New(Options{Collector: collector + "/", Site: "de&mo"}))
	t.Cleanup(server.Close)
	server.Client().CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	return server
}

func get(t *testing.T, server *httptest.Server, path string) (*http.Response, string) {
	t.Helper()
	r, err := server.Client().Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func TestEveryPageCarriesTheTagAndNothingInline(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	tag := `<script defer src="` + collector + `/f.js" data-site="de&amp;mo"></script>`
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)
	for _, path := range []string{
		"/", "/p/ridge-boot", "/p/wool-sock", "/p/field-flask", "/cart", "/thank-you",
		"/spa/", "/spa/measure", "/spa/lacing", "/no/such/page",
	} {
		r, body := get(t, server, path)
		want := http.StatusOK
		if path == "/no/such/page" {
			want = http.StatusNotFound
		}
		if r.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, r.StatusCode, want)
		}
		if !strings.Contains(body, tag) {
			t.Errorf("%s lacks the tag", path)
		}
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s has something inline: %q", path, found)
		}
		policy := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'self' "+collector+";") ||
			strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
}

func TestEveryAddressOnAPageIsAnswered(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	address := regexp.MustCompile(`(?:href|src|data-src)="(/[^"#]*)"`)
	seen := map[string]bool{"/live?embed": true, "/live": true}
	todo := []string{"/", "/live", "/live?embed"}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		r, body := get(t, server, path)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, r.StatusCode)
		}
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range address.FindAllStringSubmatch(body, -1) {
			if !seen[m[1]] {
				seen[m[1]] = true
				todo = append(todo, m[1])
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("followed %d addresses, want the whole shop", len(seen))
	}
}

func TestPixelPagesHoldOnePixelWithTheirOwnAddressAndNoScript(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	pixel := regexp.MustCompile(`<img id="(?:noscript-)?pixel" src="([^"]+)"`)
	for _, path := range []string{"/pixel.html", "/noscript.html"} {
		_, body := get(t, server, path)
		m := pixel.FindStringSubmatch(body)
		if m == nil || strings.Contains(body, "<script") {
			t.Fatalf("%s: want one pixel and no script", path)
		}
		u, err := url.Parse(html.UnescapeString(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if !strings.HasPrefix(u.String(), collector+"/p.gif?") || q.Get("site") != "de&mo" ||
			q.Get("type") != "pageview" || q.Get("url") != server.URL+path {
			t.Errorf("%s: pixel %s", path, u)
		}
	}
}

func TestCheckoutAnswersANativeSubmitWithThankYou(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	r, err := server.Client().PostForm(server.URL+"/checkout", url.Values{"name": {"Ada"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/thank-you" {
		t.Errorf("status %d to %q, want 303 to /thank-you", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestNewsletterAnswersAFetchWithoutAPageAndASubmitWithOne(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	for accept, want := range map[string]int{
		"application/json":      http.StatusNoContent,
		"text/html, */*;q=0.8 ": http.StatusSeeOther,
	} {
		r, err := postForm(t.Context(), server, "/newsletter", "email=a%40b.example", accept)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != want {
			t.Errorf("Accept %q: status %d, want %d", accept, r.StatusCode, want)
		}
	}
}

func TestAFormThatIsTooBigIsRefused(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	body := "name=" + strings.Repeat("x", formMax)
	r, err := postForm(t.Context(), server, "/checkout", body, "text/html")
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", r.StatusCode)
	}
}

func postForm(
	ctx context.Context, server *httptest.Server, path, body, accept string,
) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", server.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", accept)
	answer, err := server.Client().Do(r)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}

func TestTheLookbookIsAPDFAndIsNotSentTwice(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	first, body := get(t, server, "/files/lookbook.pdf")
	if first.Header.Get("Content-Type") != "application/pdf" || !strings.HasPrefix(body, "%PDF-") {
		t.Fatalf("type %q", first.Header.Get("Content-Type"))
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/files/lookbook.pdf", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("If-None-Match", first.Header.Get("ETag"))
	again, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	again.Body.Close()
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("second time: status %d, want 304", again.StatusCode)
	}
}

func TestNothingButTheShopsFilesIsServed(t *testing.T) {
	t.Parallel()
	server := newTestSite(t)
	for _, path := range []string{
		"/static/live.html", "/static/base.html", "/static/README.md", "/static/lookbook.pdf",
		"/files/shop.css", "/static/..%2f..%2fsite.go", "/p/none", "/spa/none", "/checkout",
	} {
		if r, _ := get(t, server, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, r.StatusCode)
		}
	}
}

func TestAStrayCollectorSettingCannotOpenThePolicy(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"", "nonsense", "http://a.example;script-src *", "http://a b"} {
		policy := shopPolicy(setting)
		if strings.Contains(policy, "*") || strings.Count(policy, "script-src") != 1 {
			t.Errorf("collector %q: policy %q", setting, policy)
		}
	}
}
