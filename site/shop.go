package site

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// formMax bounds a posted form in bytes; what is in it is read by nobody and kept nowhere.
const formMax = 16 << 10

// shop is the demo shop: its pages, two forms that go nowhere, and its files.
type shop struct {
	log       *slog.Logger
	collector string
	site      string
	policy    string
	pages     map[string]*template.Template
	static    map[string]asset
}

// asset is one embedded file with the tag that tells a browser it has not changed.
type asset struct {
	body []byte
	etag string
}

// view is what a template sees.
type view struct {
	Collector, Site string
	Page            string // the template's name, marks the place in the navigation
	Product         product
	Products        []product
	Pixel           string
	Path            string
}

func newShop(o Options) *shop {
	s := &shop{log: o.Logger, collector: o.Collector, site: o.Site, policy: shopPolicy(o.Collector)}
	s.pages = map[string]*template.Template{}
	base := template.Must(template.ParseFS(files, "demo/pages/base.html"))
	for _, name := range []string{
		"home", "product", "cart", "thank-you", "guide", "missing",
	} {
		page := template.Must(base.Clone())
		s.pages[name] = template.Must(page.ParseFS(files, "demo/pages/"+name+".html"))
	}
	for _, name := range []string{"pixel", "noscript"} {
		page := template.Must(template.ParseFS(files, "demo/pages/"+name+".html"))
		s.pages[name] = page.Lookup(name + ".html")
	}
	s.static = readAssets("demo/static", "live", "fonts")
	return s
}

// shopPolicy lets a page load from itself and from the collector, nothing else and nothing
// inline: the tag has to work under it.
func shopPolicy(collector string) string {
	own := strings.TrimSpace("'self' " + origin(collector))
	return "default-src 'self'; script-src " + own + "; connect-src " + own + "; img-src " + own +
		"; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
}

func readAssets(folders ...string) map[string]asset {
	assets := map[string]asset{}
	for _, folder := range folders {
		entries, err := fs.ReadDir(files, folder)
		if err != nil {
			panic(err) // the folder is embedded, or this does not compile
		}
		for _, e := range entries {
			body, err := files.ReadFile(folder + "/" + e.Name())
			if err != nil {
				panic(err)
			}
			sum := sha256.Sum256(body)
			assets[e.Name()] = asset{body, `"` + hex.EncodeToString(sum[:8]) + `"`}
		}
	}
	delete(assets, "live.html")
	return assets
}

func (s *shop) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.page("home"))
	mux.HandleFunc("GET /p/{slug}", s.productPage)
	mux.HandleFunc("GET /cart", s.page("cart"))
	mux.HandleFunc("GET /thank-you", s.page("thank-you"))
	for _, place := range []string{"/spa/{$}", "/spa/measure", "/spa/lacing"} {
		mux.HandleFunc("GET "+place, s.page("guide"))
	}
	mux.HandleFunc("GET /pixel.html", s.pixelPage("pixel", "Pixel only"))
	mux.HandleFunc("GET /noscript.html", s.pixelPage("noscript", "Pixel without script"))
	mux.HandleFunc("POST /checkout", s.checkout)
	mux.HandleFunc("POST /newsletter", s.newsletter)
	mux.HandleFunc("GET /static/{name}", s.file)
	mux.HandleFunc("GET /files/{name}", s.file)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.render(w, r, http.StatusNotFound, "missing", view{})
	})
}

func (s *shop) page(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.render(w, r, http.StatusOK, name, view{})
	}
}

func (s *shop) productPage(w http.ResponseWriter, r *http.Request) {
	for _, p := range products() {
		if p.Slug == r.PathValue("slug") {
			s.render(w, r, http.StatusOK, "product", view{Product: p})
			return
		}
	}
	s.render(w, r, http.StatusNotFound, "missing", view{})
}

// pixelPage gives the pixel the page's own address: an <img> sends only the origin of its page
// as referrer, and the page has no script that could add the rest.
func (s *shop) pixelPage(name, title string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		own := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path}
		if r.TLS != nil {
			own.Scheme = "https"
		}
		query := url.Values{
			"site": {s.site}, "type": {"pageview"}, "url": {own.String()}, "title": {title},
		}
		s.render(w, r, http.StatusOK, name, view{Pixel: s.collector + "/p.gif?" + query.Encode()})
	}
}

func (s *shop) checkout(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	http.Redirect(w, r, "/thank-you", http.StatusSeeOther)
}

// newsletter answers a fetch with 204 and a native submit, of a browser without script, with a
// page.
func (s *shop) newsletter(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, "/thank-you", http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func readForm(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, formMax)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form could not be read", http.StatusBadRequest)
		return false
	}
	return true
}

func (s *shop) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	a, found := s.static[name]
	if !found || strings.HasPrefix(r.URL.Path, "/files/") != (path.Ext(name) == ".pdf") {
		s.render(w, r, http.StatusNotFound, "missing", view{})
		return
	}
	// An SVG opened by itself is a document: it gets the policy of one that does nothing.
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}

// render writes the whole page or a plain 500: a template's error must not leave half a page.
func (s *shop) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.Collector, v.Site, v.Products = s.collector, s.site, products()
	v.Page, v.Path = name, r.URL.Path
	var page bytes.Buffer
	if err := s.pages[name].Execute(&page, v); err != nil {
		s.log.Error("render page", "page", name, "err", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(page.Bytes())
	}
}
