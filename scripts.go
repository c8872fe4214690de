package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"footfall/collector/intake"
	"footfall/collector/sites"
	"footfall/snippet"
)

// scripts are the files of the snippet: f.js with the defaults, f.SITE.js as the site
// wants it, f.HASH.js each of them for ever, f-NAME.HASH.js the extensions. A site's is
// built when somebody first asks for it; sites that want the same share it. With a name of
// its own for the script the installation has each of them under that one too. Safe for
// concurrent use.
type scripts struct {
	sites *sites.Source
	names snippet.Names
	old   *archive // nil: what an older version made is gone
	log   *slog.Logger

	mu     sync.Mutex
	builds map[string]map[string]intake.Script // by options, then by name
}

// newScripts builds the one with the defaults. The directory of the pinned may be "".
func newScripts(source *sites.Source, names snippet.Names, pinned string,
	log *slog.Logger) (*scripts, error) {
	s := &scripts{sites: source, names: names, log: log, builds: map[string]map[string]intake.Script{}}
	var err error
	if s.old, err = openArchive(pinned); err != nil {
		return nil, err
	}
	_, err = s.build(snippet.Options{})
	return s, err
}

// find returns the file of a name, as the sites are now.
func (s *scripts) find(name string) (intake.Script, bool) {
	if rest, ok := strings.CutPrefix(name, s.names.OrDefault().Script); ok {
		name = snippet.DefaultNames.Script + rest
	}
	stem, ok := strings.CutSuffix(name, ".js")
	if !ok || !strings.HasPrefix(name, snippet.DefaultNames.Script) {
		return intake.Script{}, false
	}
	all := s.sites.Current()
	if site := all.Get(strings.TrimPrefix(stem, "f.")); site != nil && strings.HasPrefix(stem, "f.") {
		files, err := s.build(optionsOf(site))
		return files["f.js"], err == nil
	}
	files, err := s.build(snippet.Options{})
	if script, ok := files[name]; ok || err != nil {
		return script, ok
	}
	for _, site := range all.Names() {
		if s.full() {
			break // whoever makes names up must not have us build for ever
		}
		files, err := s.build(optionsOf(all.Get(site)))
		if script, ok := files[name]; ok && err == nil && script.Frozen {
			return script, true
		}
	}
	return s.old.find(name)
}

// optionsOf is what a site wants of its snippet.
func optionsOf(site *sites.Site) snippet.Options {
	rules := maps.Clone(site.Snippet)
	if rules == nil {
		rules = map[string]bool{}
	}
	rules["gpc"], rules["dnt"] = site.GPC, site.DNT
	return snippet.Options{Rules: rules, Query: site.Query}
}

// build returns the files of a bundle by name.
func (s *scripts) build(o snippet.Options) (map[string]intake.Script, error) {
	o.Names = s.names
	for _, r := range snippet.Rules { // so that a default that is written out is the same build
		if on, set := o.Rules[r.Name]; set && on == r.Default {
			delete(o.Rules, r.Name)
		}
	}
	key := fmt.Sprint(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if files, ok := s.builds[key]; ok {
		return files, nil
	}
	b, err := snippet.Build(o)
	if err != nil {
		return nil, err
	}
	// Compressing as well as can be took 100 MB, and pools give up what they hold at the
	// second collection only.
	runtime.GC()
	debug.FreeOSMemory()
	files := map[string]intake.Script{"f.js": served(b.Core, false), "f." + b.Core.Hash + ".js": served(b.Core, true)}
	for name, ext := range b.Extensions {
		files["f-"+name+"."+b.Edition+".js"] = served(ext, true)
		files["f-"+name+".js"] = served(ext, false)
	}
	if err := s.old.keep(files); err != nil {
		s.log.Warn("snippet not kept for the next version", "err", err)
	}
	if len(s.builds) >= buildsMax {
		for any := range s.builds { // of a site that has changed, mostly
			delete(s.builds, any)
			break
		}
	}
	s.builds[key] = files
	return files, nil
}

func (s *scripts) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.builds) >= buildsMax
}

// buildsMax bounds what is remembered, some 40 KB each.
const buildsMax = 1000

func served(s snippet.Script, frozen bool) intake.Script {
	return intake.Script{Body: s.Body, Gzip: s.Gzip, Brotli: s.Brotli, Zstd: s.Zstd, Hash: s.Hash,
		Frozen: frozen}
}

// snippetCmd prints what goes into a page.
type snippetCmd struct {
	namesFlags
	Collector baseURL `help:"The collector as browsers reach it." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Site      string  `help:"Site that the tag is of." default:"demo"`
}

// Run prints the tag, the pinned one, what pins its extensions, and the pixel for browsers
// without JavaScript.
func (c *snippetCmd) Run(_ context.Context, p *program) error {
	names := snippet.Names(c.Names).OrDefault()
	file, o := names.Script+".js", snippet.Options{}
	rules, err := readRules(p.settings)
	if err != nil {
		return err
	}
	if rules != nil {
		site := rules.Get(c.Site)
		if site == nil {
			return fmt.Errorf("print snippet: footfall.yaml has no site %q; it has %s", c.Site,
				strings.Join(rules.Names(), ", "))
		}
		file, o = names.Script+"."+c.Site+".js", optionsOf(site)
	}
	o.Names = names
	b, err := snippet.Build(o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, `<!-- follows new versions -->
<script defer src="%[1]s/%[2]s" data-site="%[3]s"></script>

<!-- or pinned to these bytes -->
<script defer src="%[1]s/%[6]s.%[4]s.js" integrity="%[5]s"
        crossorigin="anonymous" data-site="%[3]s"></script>

<!-- and, with data-ext, before it: the browser holds the extensions to these bytes too -->
<script type="importmap">
%[8]s
</script>

<!-- for browsers without JavaScript -->
<noscript><img src="%[1]s/%[7]s?site=%[3]s" alt="" width="1" height="1"
  referrerpolicy="no-referrer-when-downgrade"></noscript>
`, c.Collector, file, c.Site, b.Core.Hash, b.Core.Integrity, names.Script, names.Pixel,
		importMap(string(c.Collector), names, b))
	return err
}

// importMap is the integrity of a bundle's extensions, for import() has no attribute for it.
func importMap(collector string, names snippet.Names, b snippet.Bundle) string {
	integrity := map[string]string{}
	for name, script := range b.Extensions {
		integrity[collector+"/"+b.File(names, name)] = script.Integrity
	}
	text, err := json.MarshalIndent(map[string]any{"integrity": integrity}, "", "  ")
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}
