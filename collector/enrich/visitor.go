package enrich

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// The parts of an address that tell visitors apart: a household or an office, not
// a device, because IPv6 devices change the rest themselves.
const (
	prefix4 = 24
	prefix6 = 48
)

const saltBytes = 32

// salts holds the day's salt. Yesterday's is forgotten as soon as there is a new
// one: in memory and, by the rename, in the file.
type salts struct {
	file    string
	now     func() time.Time
	log     *slog.Logger
	current atomic.Pointer[salt]
	turn    sync.Mutex     // held while a new day's salt is made
	saves   sync.WaitGroup // files being written
}

type salt struct {
	day    int64 // since 1970, UTC
	key    []byte
	hashes sync.Pool
}

func newSalt(day int64, key []byte) *salt {
	s := &salt{day: day, key: key}
	s.hashes.New = func() any { return &hasher{Hash: hmac.New(sha256.New, key)} }
	return s
}

func randomSalt(day int64) *salt {
	key := make([]byte, saltBytes)
	rand.Read(key) // never fails: crypto/rand ends the program instead
	return newSalt(day, key)
}

func openSalts(file string, now func() time.Time, log *slog.Logger) (*salts, error) {
	s := &salts{file: file, now: now, log: log}
	kept, err := s.load()
	if err != nil {
		return nil, fmt.Errorf("read visitor salt: %w", err)
	}
	if kept != nil && kept.day == s.today() {
		s.current.Store(kept)
		return s, nil
	}
	fresh := randomSalt(s.today())
	s.current.Store(fresh)
	if err := s.save(fresh); err != nil {
		return nil, fmt.Errorf("keep visitor salt: %w", err)
	}
	return s, nil
}

func (s *salts) today() int64 { return s.now().Unix() / (24 * 60 * 60) }

// of returns the salt of today. A clock that is set back over midnight does not
// make another one: the visitors of one evening would count twice.
func (s *salts) of(today int64) *salt {
	current := s.current.Load()
	if today == current.day || today == current.day-1 {
		return current
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if current = s.current.Load(); today == current.day || today == current.day-1 {
		return current
	}
	fresh := randomSalt(today)
	s.current.Store(fresh)
	s.saves.Go(func() { s.saveLater(fresh) })
	return fresh
}

// networkOf returns the part of an address that is not one device's.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := prefix4
	if ip.Is6() {
		bits = prefix6
	}
	prefix, _ := ip.Prefix(bits) // fails only for invalid addresses
	return prefix
}

// visitorID returns 16 hex digits that stay the same for one site, address prefix
// and user agent until the UTC day ends.
func (s *salts) visitorID(site string, ip netip.Addr, userAgent string) (id [16]byte) {
	salt := s.of(s.today())
	network := networkOf(ip).Addr().As16()

	h := salt.hashes.Get().(*hasher)
	defer salt.hashes.Put(h)
	h.Reset()
	b := append(h.in[:0], site...)
	b = append(b, 0) // no text of an event holds a NUL, so the parts cannot run together
	b = append(b, network[:]...)
	h.in = append(b, userAgent...)
	h.Write(h.in)
	h.out = h.Sum(h.out[:0])
	hex.Encode(id[:], h.out[:8])
	return id
}

// hasher is a keyed hash with room for what goes in and comes out.
type hasher struct {
	hash.Hash
	in, out []byte
}

// saltFile is the file's form.
type saltFile struct {
	Day  string `json:"day"`
	Salt []byte `json:"salt"`
}

// load returns nil when there is no salt to use. A damaged file is one of these:
// what it held is worth no more than a day.
func (s *salts) load() (*salt, error) {
	if s.file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept saltFile
	err = json.Unmarshal(b, &kept)
	day, dayErr := time.Parse(time.DateOnly, kept.Day)
	if err != nil || dayErr != nil || len(kept.Salt) != saltBytes {
		s.log.LogAttrs(context.Background(), slog.LevelWarn,
			"visitor salt is damaged: a new one is made", slog.String("file", s.file))
		return nil, nil
	}
	return newSalt(day.Unix()/(24*60*60), kept.Salt), nil
}

func (s *salts) saveLater(fresh *salt) {
	if err := s.save(fresh); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn,
			"visitor salt is in memory only: a restart today makes new visitor ids",
			slog.Any("cause", err))
	}
}

func (s *salts) save(fresh *salt) error {
	if s.file == "" {
		return nil
	}
	day := time.Unix(fresh.day*24*60*60, 0).UTC().Format(time.DateOnly)
	b, err := json.Marshal(saltFile{Day: day, Salt: fresh.key})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.file), filepath.Base(s.file)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), s.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
