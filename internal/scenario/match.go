package scenario

// unmatched pairs each expectation with something of its own that fits, and returns what is
// left over on both sides. Where several fit, pairs are changed as long as that helps.
func unmatched[W, G any](want []W, got []G, fits func(W, G) bool) (missing []W, extra []G) {
	taken := make([]int, len(got)) // by which expectation, counted from 1
	var pair func(i int, tried []bool) bool
	pair = func(i int, tried []bool) bool {
		for j := range got {
			if tried[j] || !fits(want[i], got[j]) {
				continue
			}
			tried[j] = true
			if taken[j] == 0 || pair(taken[j]-1, tried) {
				taken[j] = i + 1
				return true
			}
		}
		return false
	}
	for i := range want {
		if !pair(i, make([]bool, len(got))) {
			missing = append(missing, want[i])
		}
	}
	for j := range got {
		if taken[j] == 0 {
			extra = append(extra, got[j])
		}
	}
	return missing, extra
}
