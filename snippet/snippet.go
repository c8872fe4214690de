// Package snippet is the tag that web pages load: its source, and the build that
// makes minified files of it inside the process.
//
// The source is embedded, so a binary always serves the snippet it was tested
// with. Build is deterministic: the same binary and options give the same bytes, hash
// and integrity on every collector. It fails when the options name a rule that
// does not exist, or when the embedded source does not compile, which a test would
// have caught.
//
// The promise to the page: the snippet never throws into it, stores nothing
// unless asked, and gives an event up only when the collector refuses it or no way
// of sending it has worked for long. README.md holds the counting rules.
package snippet

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/js"
)

// Version is sent with every event as snippet_version.
const Version = "2"

//go:embed src/*.js src/ext/*.js
var sources embed.FS

// Bundle is the snippet and its extensions as one build made them. The snippet
// loads the extensions of its own bundle, by a name with their hash in it.
type Bundle struct {
	Core       Script
	Extensions map[string]Script // by the name that data-ext has
	// Edition names the extensions' bytes: each is served as
	// <script>-<name>.<edition>.js and never changes.
	Edition string
}

// Build bundles and minifies the embedded source in memory. It reads and writes
// no file and is safe for concurrent use.
func Build(o Options) (Bundle, error) {
	words, err := o.defines()
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{Extensions: map[string]Script{}}
	sum := sha256.New()
	for _, name := range Extensions() {
		body, err := bundle("src/ext/"+name+".js", words, api.FormatIIFE)
		if err != nil {
			return Bundle{}, err
		}
		sum.Write(body)
		if b.Extensions[name], err = Packed(body); err != nil {
			return Bundle{}, err
		}
	}
	b.Edition = hex.EncodeToString(sum.Sum(nil)[:4])
	words["EDITION"] = strconv.Quote("." + b.Edition + ".js")
	body, err := bundle("src/main.js", words, api.FormatIIFE)
	if err != nil {
		return Bundle{}, err
	}
	b.Core, err = Packed(body)
	return b, err
}

// File is the name of an extension that is served for ever.
func (b Bundle) File(names Names, extension string) string {
	return names.OrDefault().Script + "-" + extension + "." + b.Edition + ".js"
}

// Module returns the snippet as an ES module, for bundlers: what the npm package holds.
// Without its collector's files at hand it loads no extensions.
func Module() ([]byte, error) {
	words, err := Options{}.defines()
	if err != nil {
		return nil, err
	}
	words["EDITION"] = "null"
	return bundle("src/module.js", words, api.FormatESModule)
}

// Extensions lists the names of the extensions.
func Extensions() []string {
	files, err := sources.ReadDir("src/ext")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".js"))
	}
	return names
}

func bundle(entry string, words map[string]string, format api.Format) ([]byte, error) {
	defines := maps.Clone(words)
	kept := defines["KEPT"]
	delete(defines, "KEPT")
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{entry},
		Bundle:            true,
		Format:            format,
		Target:            api.ES2021,
		MinifyWhitespace:  true,
		MinifyIdentifiers: false,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Define:            defines,
		Plugins:           []api.Plugin{embedded(kept)},
	})
	if len(result.Errors) > 0 {
		first := result.Errors[0]
		return nil, fmt.Errorf("bundle %s: %s (%d problems)", entry, first.Text, len(result.Errors))
	}
	body, err := again(result.OutputFiles[0].Contents)
	if format == api.FormatIIFE {
		body = block(body)
	}
	return body, err
}

// block makes a block of what is a function called at once: its names are no globals either, and
// it is shorter. One that declares by var or function below stays one: such names would be globals.
func block(body []byte) []byte {
	inner, ok := bytes.CutPrefix(body, []byte("(()=>{var "))
	inner, end := bytes.CutSuffix(inner, []byte("})()"))
	if !ok || !end || bytes.Contains(inner, []byte("var ")) || bytes.Contains(inner, []byte("function ")) {
		return body
	}
	return slices.Concat([]byte("{let "), inner, []byte("}"))
}

// again minifies once more what came out of a bundle: only now do the modules' declarations join,
// and their names fall to one scope. Then another minifier, which joins the declarations of a
// function and gives the names of each one anew: more functions are alike, and pack better.
func again(body []byte) ([]byte, error) {
	result := api.Transform(string(body), api.TransformOptions{
		Target:            api.ES2021,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("minify: %s", result.Errors[0].Text)
	}
	var out bytes.Buffer
	names := js.Minifier{Version: 2021}
	if err := names.Minify(minify.New(), &out, bytes.NewReader(result.Code), nil); err != nil {
		return nil, fmt.Errorf("minify names: %w", err)
	}
	return out.Bytes(), nil
}

// embedded makes esbuild read the embedded source instead of the disk, with kept inside the
// regular expression that has its name.
func embedded(kept string) api.Plugin {
	const space = "snippet"
	resolve := func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		file := path.Join(path.Dir(a.Importer), a.Path)
		return api.OnResolveResult{Path: file, Namespace: space}, nil
	}
	load := func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		source, err := sources.ReadFile(a.Path)
		if err != nil {
			return api.OnLoadResult{}, err
		}
		text := strings.ReplaceAll(string(source), "(KEPT)", "("+kept+")")
		return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
	}
	return api.Plugin{Name: space, Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: ".*"}, resolve)
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: space}, load)
	}}
}
