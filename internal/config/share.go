package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of a whole as a person writes it: "20%".
type Share string

// Fraction returns the share as a number from 0 to 1.
func (s Share) Fraction() (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(s)), "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent > 0 && percent <= 100) {
		return 0, fmt.Errorf("%q is no share: it is above 0%% and at most 100%%, such as 20%%", string(s))
	}
	return percent / 100, nil
}
