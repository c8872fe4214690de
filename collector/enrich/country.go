package enrich

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// builtInCountries: licence and sources are in country.LICENSE, scripts/country
// renews it.
//
//go:embed country.mmdb.gz
var builtInCountries []byte

type countries struct {
	db    *maxminddb.Reader
	built time.Time
	mu    sync.RWMutex
	codes map[uintptr]string // by the record's offset in the file: some 250 in all
}

func openCountries(file string) (*countries, error) {
	db, err := openDatabase(file)
	if err != nil {
		return nil, fmt.Errorf("open country database: %w", err)
	}
	return &countries{db: db, built: db.Metadata.BuildTime(), codes: map[uintptr]string{}}, nil
}

func openDatabase(file string) (*maxminddb.Reader, error) {
	if file != "" {
		return maxminddb.Open(file)
	}
	z, err := gzip.NewReader(bytes.NewReader(builtInCountries))
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return maxminddb.OpenBytes(b)
}

// of returns the two-letter code of ip's country, or nothing when it has none, as
// private, loopback and link-local addresses never have. It understands the flat
// form of ip-location-db and the nested one of MaxMind and DB-IP.
func (c *countries) of(ip netip.Addr) string {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return ""
	}
	found := c.db.Lookup(ip)
	if !found.Found() {
		return ""
	}
	c.mu.RLock()
	code, ok := c.codes[found.Offset()]
	c.mu.RUnlock()
	if ok {
		return code
	}
	code = decodeCode(found)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[found.Offset()] = code
	return code
}

func decodeCode(found maxminddb.Result) string {
	var record struct {
		Flat   string `maxminddb:"country_code"`
		Nested struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
	}
	if found.Decode(&record) != nil {
		return ""
	}
	code := record.Flat
	if code == "" {
		code = record.Nested.Code
	}
	if len(code) != 2 || !upper(code[0]) || !upper(code[1]) {
		return ""
	}
	return code
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }
