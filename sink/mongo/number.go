package mongo

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// number is a JSON number by value: digits times ten to the power of exponent, without
// zeros at either end of digits; none for zero. 1.50, 15e-1 and 1.5 are the same.
type number struct {
	negative bool
	digits   string
	exponent int
}

func parseNumber(s string) (n number) {
	s, n.negative = strings.CutPrefix(s, "-")
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n.exponent, _ = strconv.Atoi(s[i+1:]) // of package event: within 308
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n.exponent -= len(fraction)
	n.digits = strings.TrimLeft(whole+fraction, "0")
	bare := strings.TrimRight(n.digits, "0")
	n.exponent += len(n.digits) - len(bare)
	n.digits = bare
	if n.digits == "" {
		return number{}
	}
	return n
}

func (n number) String() string {
	s := n.digits + "e" + strconv.Itoa(n.exponent)
	if n.negative {
		return "-" + s
	}
	return s
}

const (
	int64Digits   = 19
	decimalDigits = 34 // of a Decimal128
)

// appendNumber appends an element with the first of these that holds the number
// exactly: a long, a double, a Decimal128, and for more than 34 digits its text. What
// PostgreSQL's jsonb keeps exactly is not rounded here.
func appendNumber(b []byte, key, s string) []byte {
	n := parseNumber(s)
	if n.digits == "" {
		return appendLong(b, key, 0)
	}
	if size := len(n.digits) + n.exponent; n.exponent >= 0 && size <= int64Digits {
		whole := n.digits + strings.Repeat("0", n.exponent)
		if n.negative {
			whole = "-" + whole
		}
		if v, err := strconv.ParseInt(whole, 10, 64); err == nil {
			return appendLong(b, key, v)
		}
	}
	// The shortest text that reads as a double stands for it, in every JSON library.
	if f, err := strconv.ParseFloat(s, 64); err == nil &&
		parseNumber(strconv.FormatFloat(f, 'e', -1, 64)) == n {
		return appendDouble(b, key, f)
	}
	if len(n.digits) <= decimalDigits {
		if d, err := bson.ParseDecimal128(n.String()); err == nil {
			return appendDecimal(b, key, d)
		}
	}
	return appendText(b, key, n.String())
}
