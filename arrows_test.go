package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms says what each room may import: of ours, and of third parties. "" is this
// package, which joins them.
var rooms = map[string]struct{ ours, theirs []string }{
	"kafka":     {nil, []string{"github.com/twmb/franz-go"}},
	"event":     {nil, []string{"github.com/valyala/fastjson"}},
	"failpoint": {nil, nil},

	"collector/sites":   {nil, []string{"github.com/goccy/go-yaml"}},
	"collector/intake":  {[]string{"event", "collector/sites"}, []string{"github.com/valyala/fasthttp"}},
	"collector/enrich":  {[]string{"event", "collector/sites"}, []string{"github.com/mssola/useragent", "github.com/oschwald/maxminddb-golang"}},
	"collector/spool":   {[]string{"event", "failpoint"}, []string{"golang.org/x/sys"}},
	"collector/forward": {[]string{"event", "failpoint", "kafka"}, []string{"github.com/twmb/franz-go"}},
	"collector": {[]string{"event", "collector/intake", "collector/enrich", "collector/spool",
		"collector/forward", "collector/sites", "kafka", "failpoint"}, nil},

	"sink/consume":  {[]string{"event", "kafka"}, []string{"github.com/twmb/franz-go"}},
	"sink/postgres": {[]string{"event", "sink/consume", "failpoint"}, []string{"github.com/jackc/pgx"}},
	"sink/mongo": {[]string{"event", "sink/consume"}, []string{"go.mongodb.org/mongo-driver",
		"github.com/valyala/fastjson"}},
	"sink": {[]string{"event", "kafka", "sink/consume", "sink/mongo", "sink/postgres"}, nil},

	"local": {nil, []string{"github.com/twmb/franz-go", "github.com/fergusstrange/embedded-postgres",
		"github.com/jackc/pgx", "golang.org/x/sys"}},
	"snippet": {nil, []string{"github.com/evanw/esbuild", "github.com/tdewolff/minify", "github.com/klauspost/compress",
		"github.com/molecule-man/go-brrr"}},
	"site": {nil, nil},
	"": {[]string{"event", "kafka", "collector", "collector/forward", "collector/intake", "collector/sites", "collector/spool",
		"sink", "sink/consume", "sink/mongo", "sink/postgres", "local", "snippet", "site"},
		[]string{"github.com/alecthomas/kong", "github.com/goccy/go-yaml", "golang.org/x/crypto"}},
}

// everywhere is what any room may use: the metrics it is handed.
const everywhere = "github.com/VictoriaMetrics/metrics"

// TestRoomsImportOnlyWhatTheyMay holds the plan of the house: rooms do not know
// their siblings (postgres and mongo take consume's batches: these arrows are in the list),
// and third-party modules stay in the rooms that need them. Tests may use more.
func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "scripts" || d.Name() == "node_modules" ||
			strings.HasPrefix(d.Name(), ".") && path != ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), ".")
		if strings.HasSuffix(dir, "test") { // helpers of tests
			return nil
		}
		room, ok := rooms[dir]
		if !ok {
			t.Errorf("%s: %q is no room of the plan; name it in rooms, with what it may import", path, dir)
			return nil
		}
		seen[dir] = true
		for _, imported := range imports(t, path) {
			if !allowed(imported, room.ours, room.theirs) {
				t.Errorf("%s imports %s, which %q may not", path, imported, dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range rooms {
		if !seen[dir] {
			t.Errorf("room %q is not there", dir)
		}
	}
}

func imports(t *testing.T, path string) (list []string) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func allowed(path string, ours, theirs []string) bool {
	if room, ok := strings.CutPrefix(path, "footfall/"); ok {
		return slices.Contains(ours, room)
	}
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") || path == everywhere ||
		slices.ContainsFunc(theirs, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") })
}
