package certmedic

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration in Go's syntax, or a whole or fractional number of
// days or weeks such as "14d" or "2w".
func ParseDuration(s string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "w"):
		unit = 7 * 24 * time.Hour
	}
	if unit == 0 {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 90s, 10m, 72h or 14d", s)
		}
		return d, nil
	}
	n, err := strconv.ParseFloat(s[:len(s)-1], 64)
	if err != nil || math.IsNaN(n) || math.Abs(n)*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 10m, 72h or 14d", s)
	}
	return time.Duration(n * float64(unit)), nil
}
