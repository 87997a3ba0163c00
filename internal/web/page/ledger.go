package page

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/ledger"
)

// Ledger shows what is left of the limits of CAs.
type Ledger struct {
	Views []watchdog.View
}

// mostBudgets bounds how many limits are shown.
const mostBudgets = 200

// budget is what is left of one limit.
type budget struct {
	ledger.Remaining
	Name    string
	For     string
	Of      int64
	Share   int // per cent that is left
	Band    string
	More    moment // when there is one more
	Who     []link // the certificates that it is spent by
	Further int    // those that are not named

	views []*watchdog.View
}

func (l Ledger) shown(now time.Time) shown {
	all := budgets(l.Views, now)
	var m struct {
		Budget []budget
		More   int
	}
	m.Budget, m.More = all[:min(len(all), mostBudgets)], max(0, len(all)-mostBudgets)
	return shown{Template: "ledger", Title: "Ledger", Section: "/ledger", Data: m}
}

// budgets lists the limits that certificates count for, each once, the ones with least left first.
func budgets(views []watchdog.View, now time.Time) []budget {
	type purse struct {
		limit ledger.Limit
		key   string
		of    int64
	}
	by := map[purse]*budget{}
	for i := range views {
		for _, r := range views[i].Budget {
			p := purse{r.Limit, r.Key, r.Of()}
			if by[p] == nil {
				b := newBudget(r, now)
				by[p] = &b
			}
			by[p].views = append(by[p].views, &views[i])
		}
	}
	all := make([]budget, 0, len(by))
	for _, b := range by {
		b.Who, b.Further = named(b.views)
		all = append(all, *b)
	}
	slices.SortFunc(all, func(a, b budget) int {
		return cmp.Or(a.Share-b.Share, strings.Compare(string(a.Limit), string(b.Limit)), strings.Compare(a.Key, b.Key), cmp.Compare(a.Of, b.Of))
	})
	return all
}

func newBudget(r ledger.Remaining, now time.Time) budget {
	b := budget{Remaining: r, Name: limitName(r.Limit), For: strings.ReplaceAll(r.Key, ",", ", "), Of: r.Of(), Band: "ok", More: at(r.Next, now)}
	if b.Of > 0 {
		b.Share = int(100 * r.Left / b.Of)
	}
	switch {
	case b.Share <= 10:
		b.Band = "critical"
	case b.Share <= 33:
		b.Band = "warning"
	}
	return b
}

func limitName(l ledger.Limit) string {
	switch l {
	case ledger.NewOrders:
		return "new orders of the account"
	case ledger.PerDomain:
		return "certificates for a domain"
	case ledger.PerExactSet:
		return "certificates for the same names"
	case ledger.FailedValidations:
		return "failed validations of a name"
	}
	return string(l)
}
