package event

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// clean makes a text storable: valid UTF-8, no NUL, at most max bytes, cut
// between characters. PostgreSQL refuses a whole batch for one NUL or one invalid
// byte. It counts in Sanitised when it had to change something.
func (e *Event) clean(s string, max int) string {
	ok := cleanText(s)
	if len(ok) > max {
		ok = cut(ok, max)
	}
	if ok != s {
		e.Sanitised++
	}
	return ok
}

func cleanText(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return s
}

func cut(s string, max int) string {
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// Clean makes a text that the collector itself sets storable under the field's
// limit.
func (e *Event) Clean(name, s string) string { return e.clean(s, fieldOf(name).Max) }

func (n *Int) set(s string, max int) (expected string) {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		// Browsers report fractions for zoomed pages: 1536.5 pixels.
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || !jsonNumber(s) || f > 1<<53 || f < -1 {
			return fmt.Sprintf("an integer from 0 to %d", max)
		}
		v = int64(f)
	}
	if v < 0 || v > int64(max) {
		return fmt.Sprintf("an integer from 0 to %d", max)
	}
	*n = Some(v)
	return ""
}

// Digits of a Decimal: enough for any price in any currency, few enough that no
// database turns them into a hundred thousand digits.
const (
	decimalWholeMax    = 15
	decimalFractionMax = 6
)

func (d *Decimal) set(s string) (expected string) {
	const want = "a decimal number like 12.50, at most 15 digits before the point and 6 after it"
	whole, fraction, point := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole == "" || len(whole) > decimalWholeMax || !digits(whole) {
		return want
	}
	if point && (fraction == "" || len(fraction) > decimalFractionMax || !digits(fraction)) {
		return want
	}
	whole = strings.TrimLeft(whole[:len(whole)-1], "0") + whole[len(whole)-1:]
	out := whole
	if point {
		out += "." + fraction
	}
	if s[0] == '-' {
		out = "-" + out
	}
	*d = Decimal(out)
	return ""
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func setBool(p *bool, s string) (expected string) {
	switch s {
	case "true", "1":
		*p = true
	case "false", "0", "":
		*p = false
	default:
		return "true or false"
	}
	return ""
}

// Times beyond this are no event's: it is the year 2286, and keeps every time
// within the databases' and JavaScript's range.
const unixMilliMax = 9_999_999_999_999

func setTime(p *time.Time, s string) (expected string) {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil || ms < 0 || ms > unixMilliMax {
		return "Unix time in milliseconds"
	}
	*p = time.UnixMilli(ms).UTC()
	return ""
}
