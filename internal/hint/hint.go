// Package hint guesses what somebody meant who mistyped a word. Whoever reads what people
// write asks it: configuration, rules, scenarios. It promises to guess only what is near.
package hint

import (
	"cmp"
	"fmt"
	"strings"
)

// For returns `, did you mean "..."?` for the candidate that is nearest to the word, or
// that alone begins with it; nothing where there is none.
func For(word string, candidates []string) string {
	best, nearest := "", 1+min(2, len(word)/3)
	var longer []string
	for _, c := range candidates {
		if d := distance(word, c); d < nearest {
			best, nearest = c, d
		}
		if len(word) > 2 && strings.HasPrefix(c, word) {
			longer = append(longer, c)
		}
	}
	if best == "" && len(longer) == 1 {
		best = longer[0]
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// OrAll returns the hint for a word, or, where there is none, all candidates.
func OrAll(word string, candidates []string) string {
	return cmp.Or(For(word, candidates), ", there are "+strings.Join(candidates, ", "))
}

// distance counts the letters to insert, remove, replace, or swap with their neighbour to
// make one word of the other. Words that are far longer than any name here are cut.
func distance(a, b string) int {
	const longest = 64
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			same := 1
			if a[i] == b[j] {
				same = 0
			}
			next[j+1] = min(row[j]+same, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
