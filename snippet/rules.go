package snippet

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rule is one counting rule: a switch of a site's build. README.md has a line for each.
type Rule struct {
	Name    string // key below snippet in footfall.yaml; in capitals, a word of the source
	Default bool
	What    string // what happens when it is on
}

// Rules is every counting rule, in the order of README.md.
var Rules = []Rule{
	{"auto", true, "Pages are counted without `footfall.page()`."},
	{"spa", true, "A new URL without a load (History or Navigation API, back, forward) is a pageview."},
	{"replace", true, "So is one by `replaceState`."},
	{"query", true, "A new query makes a new page."},
	{"hash", false, "So does a new fragment, which is sent as the end of the path: `/app#/cart` as `/app/cart`."},
	{"bfcache", true, "A page that comes back out of the back/forward cache is a pageview."},
	{"unseen", false, "Prerendered pages and hidden tabs count before they are seen."},
	{"leave", true, "A page that is left or put away sends engaged time and scroll depth."},
	{"focus", true, "Engaged time needs the focus too, not only a visible page."},
	{"clicks", true, "Clicks are looked at: `data-event`, and the four below."},
	{"outbound", true, "A link to another host is an event."},
	{"download", true, "So is a link to a file."},
	{"contact", true, "So is a `mailto:` or `tel:` link."},
	{"forms", true, "Form submits are events."},
	{"fields", true, "A leave names the form and field that were touched last, when the form was not sent."},
	{"zone", true, "The name of the time zone is asked for when the page is idle, and sent from then on."},
	{"frames", false, "Pages inside a frame count."},
	{"local", false, "Pages on localhost count even when the collector is elsewhere."},
	{"gpc", true, "Global Privacy Control silences the snippet. Follows the site's `gpc`."},
	{"warn", false, "Problems are told on the console, once a page: a build for developers."},
	{"dnt", false, "So does Do Not Track. Follows the site's `dnt`."},
}

// Options says how a snippet differs from the default one.
type Options struct {
	Rules map[string]bool // by name; a rule that is left out has its default
	Query []string        // query keys kept beside those of campaigns and click ids
	Names Names
}

// Names are the files of the collector, so that an installation can call them otherwise.
// Each is relative to where the snippet is loaded from.
type Names struct {
	Beacon string // default "e"
	Pixel  string // default "p.gif"
	Script string // without .js; default "f"
}

// DefaultNames are what a collector answers to besides.
var DefaultNames = Names{Beacon: "e", Pixel: "p.gif", Script: "f"}

// OrDefault returns n with the defaults where nothing stands.
func (n Names) OrDefault() Names {
	return Names{cmp.Or(n.Beacon, DefaultNames.Beacon), cmp.Or(n.Pixel, DefaultNames.Pixel),
		cmp.Or(n.Script, DefaultNames.Script)}
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}$`)

// Check says what is wrong with the names: each has letters, digits, dashes, underscores
// and dots, a script no dot, and none means two things.
func (n Names) Check() error {
	n = n.OrDefault()
	kinds := []struct{ kind, name, usual string }{
		{"beacon", n.Beacon, DefaultNames.Beacon}, {"pixel", n.Pixel, DefaultNames.Pixel},
		{"script", n.Script, DefaultNames.Script}}
	for _, k := range kinds {
		switch {
		case !goodName.MatchString(k.name):
			return fmt.Errorf("%s %q is no name: 1 to 32 letters, digits, dots, dashes and underscores",
				k.kind, k.name)
		case k.kind == "script" && strings.Contains(k.name, "."):
			return fmt.Errorf("script %q has to be without its .js and without a dot", k.name)
		case k.kind != "script" && strings.HasSuffix(k.name, ".js"):
			return fmt.Errorf("%s %q ends like a script", k.kind, k.name)
		}
		for _, other := range kinds {
			if other.kind != k.kind && (k.name == other.name || k.name == other.usual) {
				return fmt.Errorf("%s %q is the name of the %s already", k.kind, k.name, other.kind)
			}
		}
	}
	return nil
}

// Kept are the query keys that tell where a visit comes from.
const Kept = `utm_\w+|ref|source|\w*clid|[gw]braid|li_fat_id`

// defines are the words of the source that stand for options.
func (o Options) defines() (map[string]string, error) {
	kept := []string{Kept}
	for _, key := range o.Query {
		kept = append(kept, strings.ReplaceAll(regexp.QuoteMeta(key), "/", `\/`))
	}
	names := o.Names.OrDefault()
	words := map[string]string{
		"VERSION":  strconv.Quote(Version),
		"ENDPOINT": strconv.Quote(names.Beacon),
		"SCRIPT":   strconv.Quote(names.Script),
		"PIXEL":    strconv.Quote(names.Pixel),
		"KEPT":     strings.Join(kept, "|"), // of a regular expression, so no define: see embedded
	}
	unknown := maps.Clone(o.Rules)
	for _, r := range Rules {
		on, set := o.Rules[r.Name]
		delete(unknown, r.Name)
		words[strings.ToUpper(r.Name)] = strconv.FormatBool(on || !set && r.Default)
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("build snippet: no such rule: %s",
			strings.Join(slices.Sorted(maps.Keys(unknown)), ", "))
	}
	return words, nil
}
