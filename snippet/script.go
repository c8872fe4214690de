package snippet

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"
)

// Script is one built file. Its slices are shared: read them only.
type Script struct {
	Body      []byte // minified JavaScript, UTF-8
	Gzip      []byte // Body as zip has it: no name and no time in its header
	Brotli    []byte // Body at quality 11 with a window of 2^16, as `brotli -q 11 -w 16`
	Zstd      []byte // Body at the best compression there is
	Hash      string // first 16 hex digits of Body's SHA-256, for /f.<hash>.js
	Integrity string // "sha384-…" of Body, for the integrity attribute
}

// Packed makes the Script of a body, such as an older version has built.
func Packed(body []byte) (Script, error) {
	short, long := sha256.Sum256(body), sha512.Sum384(body)
	s := Script{
		Body:      body,
		Gzip:      zip(body),
		Hash:      hex.EncodeToString(short[:8]),
		Integrity: "sha384-" + base64.StdEncoding.EncodeToString(long[:]),
	}
	for _, c := range []struct {
		to   *[]byte
		open func(io.Writer) (io.WriteCloser, error)
	}{
		{&s.Brotli, func(w io.Writer) (io.WriteCloser, error) {
			return brotli.NewWriterOptions(w, 11, brotli.WriterOptions{LGWin: 16, SizeHint: uint(len(body))})
		}},
		{&s.Zstd, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
				zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
				zstd.WithWindowSize(max(zstd.MinWindowSize, 1<<bits.Len(uint(len(body)))))) // memory for no more
		}},
	} {
		var err error
		if *c.to, err = compress(body, c.open); err != nil {
			return Script{}, fmt.Errorf("compress snippet: %w", err)
		}
	}
	return s, nil
}

func compress(body []byte, open func(io.Writer) (io.WriteCloser, error)) ([]byte, error) {
	var out bytes.Buffer
	w, err := open(&out)
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
