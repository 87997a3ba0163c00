package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// How much of a value is shown.
const (
	alwaysShown  = 3   // entries of a list, however long
	shownEntries = 10  // entries of a list of words
	shownWords   = 240 // characters of all of these
	shownRunes   = 120 // characters of one text
	exactly      = 3   // the precision at which numbers and durations are shown in full
)

// precisionFor returns how precisely two values have to be shown that are not equal, so that
// they do not look as if they were.
func precisionFor(a, b ref.Val) int {
	if a == nil || b == nil || a.Equal(b) == types.True {
		return 0
	}
	for precision := range exactly {
		if !lookEqual(a, b, precision) {
			return precision
		}
	}
	return exactly
}

// lookEqual reports whether two values look equal, such as 72 h and 3.0 d.
func lookEqual(a, b ref.Val, precision int) bool {
	x, okX := a.(types.Duration)
	y, okY := b.(types.Duration)
	if okX && okY && rounded(x.Duration, precision) == rounded(y.Duration, precision) {
		return true
	}
	return render(a, precision) == render(b, precision)
}

// render shows a value the way a person would say it, fractions more precisely than usual by
// so many steps.
func render(v ref.Val, precision int) string {
	switch v := v.(type) {
	case types.Duration:
		return durationTo(v.Duration, precision)
	case types.Double:
		digits := 3 + precision
		if precision == exactly {
			digits = -1
		}
		return strconv.FormatFloat(float64(v), 'g', digits, 64)
	case types.String:
		return renderText(string(v))
	case *partial:
		return renderList(v.Lister)
	case traits.Lister:
		return renderList(v)
	case traits.Mapper:
		return fmt.Sprintf("{%v entries}", v.Size().Value())
	}
	return fmt.Sprint(v.Value())
}

func renderText(s string) string {
	if utf8.RuneCountInString(s) > shownRunes {
		s = string([]rune(s)[:shownRunes]) + "..."
	}
	return strconv.Quote(s)
}

func renderList(l traits.Lister) string {
	if text, short := listed(l); short {
		return text
	}
	return fmt.Sprintf("[%v entries]", l.Size().Value())
}

// shownWhole reports whether a list is shown and not only counted.
func shownWhole(l traits.Lister) bool {
	_, short := listed(l)
	return short
}

// listed returns a list in full, and whether that is short enough to be shown.
func listed(l traits.Lister) (text string, short bool) {
	size, ok := l.Size().(types.Int)
	if !ok || size > shownEntries {
		return "", false
	}
	var entries []string
	for i := types.Int(0); i < size; i++ {
		entries = append(entries, render(l.Get(i), 0))
	}
	text = "[" + strings.Join(entries, ", ") + "]"
	return text, size <= alwaysShown || utf8.RuneCountInString(text) <= shownWords
}

// duration renders a duration the way a person would say it.
func duration(d time.Duration) string { return durationTo(d, 0) }

// durationTo is duration with so many more digits.
func durationTo(d time.Duration, precision int) string {
	if precision == exactly {
		return d.String()
	}
	unit, digits := scale(d)
	name := map[time.Duration]string{24 * time.Hour: "d", time.Hour: "h", time.Minute: "min", time.Second: "s"}[unit]
	return fmt.Sprintf("%.*f %s", digits+precision, d.Seconds()/unit.Seconds(), name)
}

// rounded returns what durationTo says.
func rounded(d time.Duration, precision int) time.Duration {
	if precision == exactly {
		return d
	}
	unit, digits := scale(d)
	for range digits + precision {
		unit /= 10
	}
	return d.Round(unit)
}

// scale returns the unit in which a duration is said, and with how many digits behind the point.
func scale(d time.Duration) (unit time.Duration, digits int) {
	switch abs := d.Abs(); {
	case abs >= 72*time.Hour:
		return 24 * time.Hour, 1
	case abs >= 2*time.Hour:
		return time.Hour, 0
	case abs >= 2*time.Minute:
		return time.Minute, 0
	}
	return time.Second, 0
}
