// Package sites says what each site wants: on which hostnames its events happen, what
// of a visitor is kept, how many events a second it may send, and which secrets its
// servers have.
//
// Sites come from the mapping "sites" of footfall.yaml (file.go), which is read again
// when it changes, or are plain names with the defaults (Named). A List never changes;
// a new file makes a new one.
//
// A file that cannot be understood is refused whole, with the lines: at the start that
// ends the program, later the sites of before stay and Source.Err says so.
package sites

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// What is kept of a visitor's address.
const (
	IPNone = "none" // used for country and visitor id, then forgotten
	IPCut  = "cut"  // its /24 or /48
	IPFull = "full"
)

// SnippetRules are the counting rules that a site may set; package snippet says what
// they are. gpc and dnt are settings of their own.
var SnippetRules = []string{"auto", "spa", "replace", "query", "hash", "bfcache", "unseen", "leave",
	"focus", "clicks", "outbound", "download", "contact", "forms", "fields", "zone", "frames", "local", "warn"}

// What happens to events of programs.
const (
	BotsFlag   = "flag"   // kept, with bot = true
	BotsRefuse = "refuse" // not taken
)

// Site is what one site wants. It is read by many goroutines and never changes.
type Site struct {
	Name string
	// Hostnames are the pages' hosts, in lower case: "shop.example" itself,
	// "*.shop.example" every name below it, "null" a page without an origin (a file, a
	// sandboxed frame). None means any.
	Hostnames []string
	IP        string   // IPNone, IPCut or IPFull
	Query     []string // keys of a page's query that are kept beside utm_*, ref and source
	GPC       bool     // honour Sec-GPC: no visitor, session or user in the event
	DNT       bool     // the same for DNT: 1
	Bots      string   // BotsFlag or BotsRefuse
	// Snippet turns counting rules of the site's snippet on or off, by name.
	Snippet   map[string]bool
	Rate      float64       // events a second; 0 for the collector's default
	Retention time.Duration // how long the sink keeps its events; 0 for as long as all
	secrets   []digest
}

// digest is what is kept of a secret.
type digest [sha256.Size]byte

// Default returns a site that takes events from anywhere and keeps little of visitors.
func Default(name string) *Site {
	return &Site{Name: name, IP: IPNone, GPC: true, Bots: BotsFlag}
}

// Allows reports whether a page of this host may send events of the site. It does not
// keep programs out: they write into Origin what they like.
func (s *Site) Allows(host string) bool {
	if len(s.Hostnames) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Hostnames, func(h string) bool {
		if below, ok := strings.CutPrefix(h, "*"); ok {
			return strings.HasSuffix(host, below)
		}
		return h == host
	})
}

// List is all sites of one moment. It is safe for concurrent use.
type List struct {
	byName   map[string]*Site
	bySecret map[digest]*Site
}

func newList(all []*Site) *List {
	l := &List{byName: map[string]*Site{}, bySecret: map[digest]*Site{}}
	for _, s := range all {
		l.byName[s.Name] = s
		for _, d := range s.secrets {
			l.bySecret[d] = s
		}
	}
	return l
}

// Get returns a site by name, nil when there is none.
func (l *List) Get(name string) *Site { return l.byName[name] }

// Names returns all names, sorted.
func (l *List) Names() []string { return slices.Sorted(maps.Keys(l.byName)) }

// BySecret returns the site that a secret belongs to, nil when it is nobody's. What is
// looked up is its hash: how long that takes tells nothing about the secrets there are.
func (l *List) BySecret(secret []byte) *Site { return l.bySecret[sha256.Sum256(secret)] }

// secretPrefix lets scanners of source code recognise a secret that was checked in.
const secretPrefix = "ffs_"

// NewSecret makes a secret of 160 random bits, and the hash of it that stands in
// footfall.yaml.
func NewSecret() (secret, hash string) {
	b := make([]byte, 20)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	secret = secretPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(b))
	sum := sha256.Sum256([]byte(secret))
	return secret, hashPrefix + hex.EncodeToString(sum[:])
}

const hashPrefix = "sha256:"

func parseHash(s string) (digest, error) {
	text, ok := strings.CutPrefix(s, hashPrefix)
	b, err := hex.DecodeString(text)
	if !ok || err != nil || len(b) != sha256.Size {
		return digest{}, errors.New(
			"is no hash of a secret: `footfall secret` makes one, with its hash")
	}
	return digest(b), nil
}
