package snippet_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"footfall/snippet"
)

// maxGzip is the size gate in bytes. 2,600 is the aim; raise it never, lower it
// whenever the snippet shrinks.
const maxGzip = 2800

func build(t *testing.T) snippet.Script {
	t.Helper()
	script, err := snippet.Build()
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func TestTheSnippetStaysSmall(t *testing.T) {
	t.Parallel()
	script := build(t)
	t.Logf("%d bytes, %d gzip", len(script.Body), len(script.Gzip))
	if n := len(script.Gzip); n > maxGzip {
		t.Errorf("the snippet has %d bytes after gzip -9, the gate is %d", n, maxGzip)
	}
}

func TestTwoBuildsAreTheSame(t *testing.T) {
	t.Parallel()
	one, two := build(t), build(t)
	if one.Hash != two.Hash || one.Integrity != two.Integrity {
		t.Errorf("%s %s, then %s %s", one.Hash, one.Integrity, two.Hash, two.Integrity)
	}
	if !bytes.Equal(one.Gzip, two.Gzip) {
		t.Error("the compressed bodies differ")
	}
}

func TestHashAndIntegrityAreThoseOfTheBody(t *testing.T) {
	t.Parallel()
	script := build(t)
	short, long := sha256.Sum256(script.Body), sha512.Sum384(script.Body)
	if want := hex.EncodeToString(short[:])[:16]; script.Hash != want {
		t.Errorf("hash %s, want %s", script.Hash, want)
	}
	want := "sha384-" + base64.StdEncoding.EncodeToString(long[:])
	if script.Integrity != want {
		t.Errorf("integrity %s, want %s", script.Integrity, want)
	}
}

func TestTheCompressedBodyIsTheBody(t *testing.T) {
	t.Parallel()
	script := build(t)
	r, err := gzip.NewReader(bytes.NewReader(script.Gzip))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, script.Body) {
		t.Error("the compressed body is another one")
	}
}

func TestTheSnippetSaysItsVersionAndHidesNothing(t *testing.T) {
	t.Parallel()
	body := string(build(t).Body)
	if !strings.Contains(body, `snippet_version:"`+snippet.Version+`"`) {
		t.Error("no snippet_version in the body")
	}
	banned := []string{"eval(", "Function(", "innerHTML", "document.write", "cookie",
		"localStorage", "beforeunload", `"unload"`, "preventDefault", "VERSION"}
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

// readBySource returns the attributes that src reads: through dataset, or by
// their name in quotes.
func readBySource(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("src/*.js")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`"(data-[a-z-]+)"`)
	dataset := regexp.MustCompile(`const \{([^}]*)\} = \w+\.dataset`)
	var names []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllSubmatch(source, -1) {
			names = append(names, string(m[1]))
		}
		for _, m := range dataset.FindAllSubmatch(source, -1) {
			for name := range strings.SplitSeq(string(m[1]), ",") {
				names = append(names, "data-"+strings.TrimSpace(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
