// Package snippet is the tag that web pages load: its source, and the build that
// makes one minified file of it when the process starts.
//
// The source is embedded, so a binary always serves the snippet it was tested
// with. Build is deterministic: the same binary gives the same bytes, hash and
// integrity on every collector. It fails only when the embedded source does not
// compile, which a test would have caught; a caller treats that as fatal.
//
// The promise to the page: the snippet never throws into it, stores nothing
// unless asked, and gives an event up only when the collector refuses it or no way
// of sending it has worked for long. README.md holds the counting rules.
package snippet

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"

	"github.com/evanw/esbuild/pkg/api"
)

// Version is sent with every event as snippet_version.
const Version = "1"

//go:embed src/*.js
var sources embed.FS

// Script is the built snippet. Its slices are shared: read them only.
type Script struct {
	Body      []byte // minified JavaScript, UTF-8
	Gzip      []byte // Body at gzip level 9, no name and no time in its header
	Hash      string // first 16 hex digits of Body's SHA-256, for /f.<hash>.js
	Integrity string // "sha384-…" of Body, for the integrity attribute
}

// Build bundles and minifies the embedded source in memory. It reads and writes
// no file and is safe for concurrent use.
func Build() (Script, error) {
	body, err := bundle()
	if err != nil {
		return Script{}, err
	}
	zipped, err := compress(body)
	if err != nil {
		return Script{}, fmt.Errorf("compress snippet: %w", err)
	}
	short := sha256.Sum256(body)
	long := sha512.Sum384(body)
	return Script{
		Body:      body,
		Gzip:      zipped,
		Hash:      hex.EncodeToString(short[:8]),
		Integrity: "sha384-" + base64.StdEncoding.EncodeToString(long[:]),
	}, nil
}

func bundle() ([]byte, error) {
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{"src/main.js"},
		Bundle:            true,
		Format:            api.FormatIIFE,
		Target:            api.ES2018,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Define:            map[string]string{"VERSION": strconv.Quote(Version)},
		Plugins:           []api.Plugin{embedded()},
	})
	if len(result.Errors) > 0 {
		first := result.Errors[0]
		return nil, fmt.Errorf("bundle snippet: %s (%d problems)", first.Text, len(result.Errors))
	}
	return result.OutputFiles[0].Contents, nil
}

// embedded makes esbuild read the embedded source instead of the disk.
func embedded() api.Plugin {
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
		return api.OnLoadResult{Contents: new(string(source)), Loader: api.LoaderJS}, nil
	}
	return api.Plugin{Name: space, Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: ".*"}, resolve)
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: space}, load)
	}}
}

func compress(body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
