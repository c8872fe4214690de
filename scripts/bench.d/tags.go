package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/evanw/esbuild/pkg/api"
)

// published is a snippet that npm has, pinned to its bytes.
type published struct {
	name, pack, integrity, file string
	// entry is a module around the file, which it imports as "tag"; none when it is the
	// script already.
	entry, head string
}

var onNPM = []published{
	{"Plausible", "@plausible-analytics/tracker@0.4.6",
		"sha512-nbu6xGgSP6jeYuoVklZBzucUnIpo75tVu3Kr+R0EDycVKaMC/jF5Q/YCaM/8gR4fPZ1IDcXt6FdBJFZ1uZwEPA==",
		"package/plausible.js", plausible, `<script defer src="%ORIGIN%/script.js"></script>`},
	{"Umami", "umami@2.10.0",
		"sha512-+lmrnV0751R6U2rkIgVAlE1nWI7yZawlMlJDguW9tlFacCKhnGeCyc7tCMIhNNYIiGIQy4DEX5IzJhm4b3+dPA==",
		"package/src/tracker/index.js", `import "tag"`,
		`<script defer src="%ORIGIN%/script.js" data-website-id="94db1cb1-74f4-4a40-ad6c-962362670409"></script>`},
}

// plausible is what the hosted script of a site does with everything on.
const plausible = `import { init } from "tag";
init({ domain: "shop.example", endpoint: new URL("/api/event", document.currentScript.src).href,
  outboundLinks: true, fileDownloads: true, formSubmissions: true, captureOnLocalhost: true });`

// elsewhere are the snippets that no package of npm carries: --peer has to give their file.
// Theirs is served as it is.
var elsewhere = map[string]string{
	"GoatCounter": `<script defer src="%ORIGIN%/script.js" data-goatcounter="%ORIGIN%/count"
		data-goatcounter-settings='{"allow_local": true}'></script>`,
	"Matomo": `<script>_paq = [["trackPageView"], ["enableLinkTracking"], ["setTrackerUrl", "%ORIGIN%/matomo.php"],
		["setSiteId", "1"]]</script><script defer src="%ORIGIN%/script.js"></script>`,
}

// peers are the snippets beside ours, and why some are lacking.
func (b *snippetBench) peers(ctx context.Context) (list []tag, lacking []string, err error) {
	if !b.s.noPeers {
		for _, p := range onNPM {
			t, err := p.tag(ctx, b.s.dir)
			if err != nil {
				return nil, nil, fmt.Errorf("get %s: %w", p.pack, err)
			}
			list = append(list, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.s.peers)) {
		body, err := os.ReadFile(b.s.peers[name])
		if err != nil {
			return nil, nil, err
		}
		head, known := elsewhere[name]
		if !known {
			head = `<script defer src="%ORIGIN%/script.js"></script>`
		}
		sum := sha256.Sum256(body)
		version := fmt.Sprintf("%s, sha256 %x…", filepath.Base(b.s.peers[name]), sum[:4])
		list = append(list, tag{name: name, version: version, body: body, head: head})
	}
	for _, name := range slices.Sorted(maps.Keys(elsewhere)) {
		if b.s.peers[name] == "" {
			lacking = append(lacking, fmt.Sprintf("%s: no package of npm has its script; --peer %s=FILE gives it", name, name))
		}
	}
	return list, lacking, nil
}

// tag fetches the package once, holds it to its integrity, and makes the script.
func (p published) tag(ctx context.Context, dir string) (tag, error) {
	packed, err := p.fetch(ctx, dir)
	if err != nil {
		return tag{}, err
	}
	source, err := unpack(packed, p.file)
	if err != nil {
		return tag{}, err
	}
	body, err := wrap(p.entry, source)
	return tag{name: p.name, version: p.pack, body: body, head: p.head}, err
}

func (p published) fetch(ctx context.Context, dir string) ([]byte, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(p.integrity))
	file := filepath.Join(cache, "footfall", "npm", fmt.Sprintf("%x.tgz", sum[:8]))
	if b, err := os.ReadFile(file); err == nil && p.isIntact(b) {
		return b, nil
	}
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", dir, p.pack)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, string(bytes.TrimSpace(out))))
	if err != nil {
		return nil, err
	}
	if !p.isIntact(b) {
		return nil, errors.New("it is not the package that this was written for")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	return b, os.WriteFile(file, b, 0o644)
}

func (p published) isIntact(b []byte) bool {
	sum := sha512.Sum512(b)
	return "sha512-"+base64.StdEncoding.EncodeToString(sum[:]) == p.integrity
}

func unpack(packed []byte, name string) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		if h.Name == name {
			return io.ReadAll(r)
		}
	}
}

// wrap bundles and minifies the module entry around source, with the esbuild that makes our
// own snippet.
func wrap(entry string, source []byte) ([]byte, error) {
	space := api.Plugin{Name: "tag", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: "^tag$"}, func(api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: "tag", Namespace: "tag"}, nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: "tag"}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
			return api.OnLoadResult{Contents: new(string(source)), Loader: api.LoaderJS}, nil
		})
	}}
	result := api.Build(api.BuildOptions{
		Stdin:             &api.StdinOptions{Contents: entry},
		Bundle:            true,
		Format:            api.FormatIIFE,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		Plugins:           []api.Plugin{space},
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("bundle: %s", result.Errors[0].Text)
	}
	return result.OutputFiles[0].Contents, nil
}
