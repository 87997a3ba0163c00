package page

import "strings"

// quiet is a silence.
type quiet struct {
	What, Why, By string
	Until         moment
	UntilRenewed  bool
}

func (d Data) quiets() []quiet {
	var all []quiet
	for _, s := range d.Silences {
		var what []string
		for _, m := range s.Matchers {
			what = append(what, m.String())
		}
		all = append(all, quiet{
			What: strings.Join(what, ", "), Why: s.Why, By: s.By, Until: at(s.Until, d.Now), UntilRenewed: s.UntilRenewed,
		})
	}
	return all
}
