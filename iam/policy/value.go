package policy

import "strings"

// The readers in this file take values of requests as well as of policies:
// they allocate nothing.

// maxSeconds is the end of the year 2261, as far as nanoseconds reach.
const maxSeconds = 9214646399

// dateOf reads a date in one of the forms of W3C's note on ISO 8601, or in
// seconds since 1970, into nanoseconds since 1970. Four digits are a year.
func dateOf(text string) (int64, bool) {
	if len(text) != 4 && isDigits(text) {
		seconds, ok := number(text, 12)
		return int64(seconds) * second, ok && seconds <= maxSeconds
	}
	date, clock, timed := strings.Cut(text, "T")
	year, date, _ := strings.Cut(date, "-")
	month, day, full := strings.Cut(date, "-")
	if month == "" && len(text) == 4 {
		month = "01"
	}
	if day == "" && !full {
		day = "01"
	}
	y, ok1 := digits(year, 4)
	m, ok2 := digits(month, 2)
	d, ok3 := digits(day, 2)
	if !ok1 || !ok2 || !ok3 || timed && !full || y < 1678 || y > 2261 {
		return 0, false
	}
	if m < 1 || m > 12 || d < 1 || d > daysOf(y, m) {
		return 0, false
	}
	sinceMidnight, ok := int64(0), true
	if timed {
		sinceMidnight, ok = clockOf(clock)
	}
	return daysSince1970(y, m, d)*24*hour + sinceMidnight, ok
}

// Times are in nanoseconds. Package time is not used: it would bring a clock.
const (
	second = 1_000_000_000
	minute = 60 * second
	hour   = 60 * minute
)

func isLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// daysOf gives how many days a month has.
func daysOf(year, month int) int {
	if month == 2 && isLeap(year) {
		return 29
	}
	return [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[month-1]
}

// daysSince1970 counts the days from 1 January 1970 to a day of the Gregorian
// calendar; those before are negative.
func daysSince1970(year, month, day int) int64 {
	leaps := func(year int) int { return year/4 - year/100 + year/400 }
	days := 365*(year-1970) + leaps(year-1) - leaps(1969) + day - 1
	for m := 1; m < month; m++ {
		days += daysOf(year, m)
	}
	return int64(days)
}

// clockOf reads hh:mm, perhaps :ss and a fraction, and the zone.
func clockOf(text string) (int64, bool) {
	i := strings.IndexAny(text, "Z+-")
	if i < 0 {
		return 0, false
	}
	offset, ok := zoneOf(text[i:])
	hours, rest, _ := strings.Cut(text[:i], ":")
	minutes, seconds, precise := strings.Cut(rest, ":")
	if !precise {
		seconds = "00"
	}
	seconds, fraction, fractioned := strings.Cut(seconds, ".")
	h, ok1 := digits(hours, 2)
	m, ok2 := digits(minutes, 2)
	s, ok3 := digits(seconds, 2)
	nanoseconds, ok4 := 0, true
	if fractioned {
		nanoseconds, ok4 = number(fraction, 9)
		for i := len(fraction); i < 9; i++ {
			nanoseconds *= 10
		}
	}
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 || h > 23 || m > 59 || s > 59 {
		return 0, false
	}
	return int64(h)*hour + int64(m)*minute + int64(s)*second + int64(nanoseconds) - offset, true
}

// zoneOf reads Z, or a sign and hh:mm.
func zoneOf(text string) (int64, bool) {
	if text == "Z" {
		return 0, true
	}
	hours, minutes, found := strings.Cut(text[1:], ":")
	h, ok1 := digits(hours, 2)
	m, ok2 := digits(minutes, 2)
	offset := int64(h)*hour + int64(m)*minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, text[0] != 'Z' && found && ok1 && ok2 && h <= 23 && m <= 59
}

// digits reads exactly n digits.
func digits(text string, n int) (int, bool) {
	value, ok := number(text, n)
	return value, ok && len(text) == n
}

// number reads at least one and at most n digits.
func number(text string, n int) (value int, ok bool) {
	if !isDigits(text) || len(text) > n {
		return 0, false
	}
	for i := range len(text) {
		value = 10*value + int(text[i]-'0')
	}
	return value, true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func boolOf(text string) (value, ok bool) {
	value = strings.EqualFold(text, "true")
	return value, value || strings.EqualFold(text, "false")
}

// maxNumber is the length of a number in characters.
const maxNumber = 64

// decimal is a number as it was written: exact, and without allocation.
type decimal struct {
	negative bool
	// whole has no leading zeros, fraction no trailing ones.
	whole, fraction string
}

// decimalOf reads an optional minus, digits, and perhaps a point with digits
// after it.
func decimalOf(text string) (decimal, bool) {
	unsigned, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(unsigned, ".")
	if len(text) > maxNumber || !isDigits(whole) || point && !isDigits(fraction) {
		return decimal{}, false
	}
	d := decimal{negative, strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")}
	if d.whole == "" && d.fraction == "" {
		d.negative = false // there is one zero only
	}
	return d, true
}

// compare gives -1, 0 or 1, as a is less than b, equal, or greater.
func (a decimal) compare(b decimal) int {
	switch {
	case a.negative && !b.negative:
		return -1
	case b.negative && !a.negative:
		return 1
	case a.negative:
		a, b = b, a
	}
	if len(a.whole) != len(b.whole) {
		if len(a.whole) < len(b.whole) {
			return -1
		}
		return 1
	}
	if c := strings.Compare(a.whole, b.whole); c != 0 {
		return c
	}
	return strings.Compare(a.fraction, b.fraction)
}

func ordered(compare comparison, c int) bool {
	switch compare {
	case less:
		return c < 0
	case lessEqual:
		return c <= 0
	case greater:
		return c > 0
	case greaterEqual:
		return c >= 0
	}
	return c == 0
}
