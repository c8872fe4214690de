package event

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// UUID is an event's id. Ours are version 7 (RFC 9562): 48 bits of Unix
// milliseconds, then 74 random bits, so that ids made one after the other sort
// one after the other and the database's index grows at one end.
type UUID [16]byte

// NewUUID returns a version 7 id of time t, which must lie between 1970 and
// 10889. Safe for concurrent use.
func NewUUID(t time.Time) UUID {
	var u UUID
	rand.Read(u[6:]) // never fails: crypto/rand ends the program instead
	return u.at(t)
}

// at returns u with its time replaced and its random bits kept.
func (u UUID) at(t time.Time) UUID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli()))
	copy(u[:6], ms[2:])
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return u
}

// IsV7 reports whether u is a version 7 id of the RFC's variant.
func (u UUID) IsV7() bool { return u[6]>>4 == 7 && u[8]>>6 == 2 }

// Time returns the millisecond inside a version 7 id.
func (u UUID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], u[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
}

// IsZero reports whether u is the id of nothing.
func (u UUID) IsZero() bool { return u == UUID{} }

// String returns the 36-character lower-case form.
func (u UUID) String() string { return string(u.append(make([]byte, 0, 36))) }

func (u UUID) append(b []byte) []byte {
	const dashes = 1<<3 | 1<<5 | 1<<7 | 1<<9 // behind these bytes
	for i, c := range u {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
		if dashes>>i&1 != 0 {
			b = append(b, '-')
		}
	}
	return b
}

var errUUID = errors.New("want 32 hex digits, like 0198c0de-0000-7000-8000-000000000000 or without the hyphens")

// ParseUUID reads the 36-character form, or the 32 digits of it that the snippet sends, in
// either case, of any version.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	switch {
	case len(s) == 32:
	case len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-':
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	default:
		return u, errUUID
	}
	if _, err := hex.Decode(u[:], []byte(s)); err != nil {
		return UUID{}, errUUID
	}
	return u, nil
}

// MarshalText is String, for JSON.
func (u UUID) MarshalText() ([]byte, error) { return u.append(nil), nil }
