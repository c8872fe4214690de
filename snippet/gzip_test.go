package snippet_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"footfall/snippet"
)

// TestAnyBodyComesBackOutOfGzip has bodies that need each part of the format.
func TestAnyBodyComesBackOutOfGzip(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	words := strings.Fields("the page is the host and nothing here may throw into it; a b c d e f")
	var text strings.Builder
	for text.Len() < 40000 {
		text.WriteString(words[rand.IntN(len(words))])
	}
	for name, body := range map[string]string{
		"empty":     "",
		"one byte":  "a",
		"a run":     strings.Repeat("a", 1000),
		"noise":     string(noise),
		"too far":   string(noise) + strings.Repeat("\x00\x01", 20000) + string(noise),
		"text":      text.String(),
		"all bytes": string(allBytes()),
	} {
		script, err := snippet.Packed([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(script.Gzip))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != body {
			t.Errorf("%s: %d bytes of %d come back: %v", name, len(got), len(body), err)
		}
	}
}

func allBytes() (all []byte) {
	for i := range 256 {
		all = append(all, byte(i))
	}
	return all
}

// TestGzipIsShorterThanTheUsual holds what the search is for.
func TestGzipIsShorterThanTheUsual(t *testing.T) {
	t.Parallel()
	script := build(t, snippet.Options{}).Core
	var usual bytes.Buffer
	w, err := gzip.NewWriterLevel(&usual, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(script.Body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(script.Gzip) > usual.Len()-20 {
		t.Errorf("%d bytes; the usual way has %d", len(script.Gzip), usual.Len())
	}
}
