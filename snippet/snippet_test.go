package snippet_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"

	"footfall/snippet"
)

var update = flag.Bool("update", false, "write sizes.txt")

func build(t *testing.T, o snippet.Options) snippet.Bundle {
	t.Helper()
	b, err := snippet.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slack is what an edition in the core's text may cost: its hash compresses by chance.
const slack = 12

// budget is what each file may have, gzip and brotli. The core is above its own yet: the log
// says how far, and sizes.txt keeps it from growing.
var budget = map[string][2]int{
	"core":                          {2600, 2300},
	"core-without-clicks-and-forms": {1500, 1300},
	"vitals":                        {1100, 950},
	"capture":                       {1400, 1200},
	"later":                         {700, 620},
}

// TestTheSnippetStaysSmall compares each file with sizes.txt, which is committed, so that what
// grows has to say so there, and with its budget. Sizes are in bytes, as served: in gzip
// and in brotli -q 11.
func TestTheSnippetStaysSmall(t *testing.T) {
	t.Parallel()
	files := map[string]snippet.Script{}
	b := build(t, snippet.Options{})
	files["core"] = b.Core
	files["core-without-clicks-and-forms"] = build(t, snippet.Options{
		Rules: map[string]bool{"clicks": false, "forms": false}}).Core
	maps.Copy(files, b.Extensions)
	var now strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&now, "%s %d %d\n", name, len(files[name].Gzip), len(files[name].Brotli))
	}
	if *update {
		if err := os.WriteFile("sizes.txt", []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile("sizes.txt")
	if err != nil {
		t.Fatal(err)
	}
	before := map[string][2]int{}
	for line := range strings.Lines(string(committed)) {
		var name string
		var size [2]int
		if _, err := fmt.Sscan(line, &name, &size[0], &size[1]); err != nil {
			t.Fatal(err)
		}
		before[name] = size
	}
	for name, f := range files {
		gz, br := len(f.Gzip), len(f.Brotli)
		old := before[name]
		t.Logf("%-30s %5d raw %5d gz (%+d) %5d br (%+d)", name, len(f.Body), gz, gz-old[0], br, br-old[1])
		if gz > old[0]+slack || br > old[1]+slack {
			t.Errorf("%s has %d gz, %d br; sizes.txt has %d, %d: make it smaller", name, gz, br, old[0], old[1])
		}
		over := max(gz-budget[name][0], br-budget[name][1])
		switch {
		case budget[name][0] == 0 || over <= 0:
		case strings.HasPrefix(name, "core"):
			t.Logf("%-30s above its budget of %d gz, %d br", name, budget[name][0], budget[name][1])
		default:
			t.Errorf("%s has %d gz, %d br; its budget is %d, %d", name, gz, br, budget[name][0], budget[name][1])
		}
	}
}

func TestTwoBuildsAreTheSame(t *testing.T) {
	t.Parallel()
	one, two := build(t, snippet.Options{}).Core, build(t, snippet.Options{}).Core
	if one.Hash != two.Hash || one.Integrity != two.Integrity {
		t.Errorf("%s %s, then %s %s", one.Hash, one.Integrity, two.Hash, two.Integrity)
	}
	if !bytes.Equal(one.Gzip, two.Gzip) {
		t.Error("the compressed bodies differ")
	}
}

func TestHashAndIntegrityAreThoseOfTheBody(t *testing.T) {
	t.Parallel()
	script := build(t, snippet.Options{}).Core
	short, long := sha256.Sum256(script.Body), sha512.Sum384(script.Body)
	if want := hex.EncodeToString(short[:])[:16]; script.Hash != want {
		t.Errorf("hash %s, want %s", script.Hash, want)
	}
	want := "sha384-" + base64.StdEncoding.EncodeToString(long[:])
	if script.Integrity != want {
		t.Errorf("integrity %s, want %s", script.Integrity, want)
	}
}

func TestTheCompressedBodiesAreTheBody(t *testing.T) {
	t.Parallel()
	script := build(t, snippet.Options{}).Core
	zipped, err := gzip.NewReader(bytes.NewReader(script.Gzip))
	if err != nil {
		t.Fatal(err)
	}
	frames, err := zstd.NewReader(bytes.NewReader(script.Zstd))
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	for name, r := range map[string]io.Reader{"gzip": zipped, "zstd": frames,
		"br": brotli.NewReader(bytes.NewReader(script.Brotli))} {
		body, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(body, script.Body) {
			t.Errorf("%s holds another body: %v", name, err)
		}
	}
}

func TestTheSnippetSaysItsVersionAndHidesNothing(t *testing.T) {
	t.Parallel()
	body := string(build(t, snippet.Options{}).Core.Body)
	if !strings.Contains(body, `snippet_version:"`+snippet.Version+`"`) {
		t.Error("no snippet_version in the body")
	}
	// Storage is there for who opts out, and for data-session.
	banned := []string{"eval(", "Function(", "innerHTML", "document.write", "cookie",
		"beforeunload", `"unload"`, "preventDefault", "VERSION"}
	for _, word := range banned {
		if strings.Contains(body, word) {
			t.Errorf("%q is in the body", word)
		}
	}
}

func TestEveryAttributeOfTheTableIsReadAndEveryReadOneIsInTheTable(t *testing.T) {
	t.Parallel()
	table := documented(t)
	read := readBySource(t)
	if !slices.Equal(table, read) {
		t.Errorf("README.md has %q, the source reads %q", table, read)
	}
}

// documented returns the attributes in the first column of README.md's tables.
func documented(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	row := regexp.MustCompile("(?m)^\\| `(data-[a-z-]+)")
	for _, m := range row.FindAllSubmatch(readme, -1) {
		names = append(names, string(m[1]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readBySource returns the attributes that src reads: of the tag as data.NAME, of others
// by their name in quotes.
func readBySource(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("src/*.js")
	if err != nil {
		t.Fatal(err)
	}
	extensions, err := filepath.Glob("src/ext/*.js")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`"(data-[a-z-]+)"`)
	property := regexp.MustCompile(`\bdata\.([a-z]+)`)
	var names []string
	for _, file := range append(files, extensions...) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllSubmatch(source, -1) {
			names = append(names, string(m[1]))
		}
		for _, m := range property.FindAllSubmatch(source, -1) {
			names = append(names, "data-"+string(m[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestWhatIsStoredIsInTheTable compares the storage that the source names with the table of
// README.md. That a switch is needed for each is a scenario of scripts/browser.
func TestWhatIsStoredIsInTheTable(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var table []string
	row := regexp.MustCompile("(?m)^\\| `[^`]+` \\| (\\w+Storage) \\| `([^`]+)` \\|")
	for _, m := range row.FindAllSubmatch(readme, -1) {
		table = append(table, string(m[1])+" "+string(m[2]))
	}
	files, err := filepath.Glob("src/*.js")
	if err != nil {
		t.Fatal(err)
	}
	extensions, err := filepath.Glob("src/ext/*.js")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	property := regexp.MustCompile(`\b(localStorage|sessionStorage)\.(footfall\w*)`)
	prefix := regexp.MustCompile(`PREFIX = "(\w+) "`)
	elsewhere := regexp.MustCompile(`cookie|indexedDB|caches|StorageManager|window\.name|FileSystem|serviceWorker`)
	for _, file := range append(files, extensions...) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range property.FindAllSubmatch(source, -1) {
			named = append(named, string(m[1])+" "+string(m[2]))
		}
		if m := prefix.FindSubmatch(source); m != nil {
			named = append(named, "localStorage "+string(m[1])+" SITE ID")
		}
		if m := elsewhere.Find(source); m != nil {
			t.Errorf("%s has the word %s", file, m)
		}
	}
	slices.Sort(table)
	slices.Sort(named)
	table, named = slices.Compact(table), slices.Compact(named)
	if !slices.Equal(table, named) {
		t.Errorf("README.md has %q, the source %q", table, named)
	}
}

func TestEveryRuleIsInTheTableWithItsDefaultAndInTheSource(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range snippet.Rules {
		line := fmt.Sprintf("| `%s` | %v | %s |", r.Name, r.Default, r.What)
		if !strings.Contains(string(readme), line) {
			t.Errorf("README.md has no line %s", line)
		}
		on := build(t, snippet.Options{Rules: map[string]bool{r.Name: true}}).Core.Hash
		off := build(t, snippet.Options{Rules: map[string]bool{r.Name: false}}).Core.Hash
		if on == off {
			t.Errorf("the rule %s changes nothing", r.Name)
		}
	}
	if _, err := snippet.Build(snippet.Options{Rules: map[string]bool{"hsah": true}}); err == nil {
		t.Error("a rule that does not exist was taken")
	}
}
