package page

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Filter says which certificates the fleet shows. It is kept in the address of the page.
type Filter struct {
	Text     string             // is in a name, an address or a label, or begins a version
	Labels   []string           // "team:payments": all of them; "team": whatever it says
	Statuses []certmedic.Status // one of them; empty: any
	Modes    []certmedic.Mode   // one of them; empty: any
	Page     int                // from 1
}

// The names of the queries.
const (
	queryText   = "q"
	queryLabel  = "label"
	queryStatus = "status"
	queryMode   = "mode"
	queryPage   = "page"
)

// maxTerms bounds how many labels are asked for at once.
const maxTerms = 20

// ParseFilter reads the query of the page. What it does not know fits nothing.
func ParseFilter(q url.Values) Filter {
	f := Filter{Text: strings.TrimSpace(q.Get(queryText)), Page: 1}
	for _, label := range q[queryLabel] {
		if label != "" && len(f.Labels) < maxTerms && !slices.Contains(f.Labels, label) {
			f.Labels = append(f.Labels, label)
		}
	}
	for _, s := range q[queryStatus] {
		if s != "" && len(f.Statuses) < maxTerms {
			f.Statuses = append(f.Statuses, certmedic.Status(s))
		}
	}
	for _, m := range q[queryMode] {
		if m != "" && len(f.Modes) < maxTerms {
			f.Modes = append(f.Modes, certmedic.Mode(m))
		}
	}
	if n, err := strconv.Atoi(q.Get(queryPage)); err == nil && n > 1 {
		f.Page = n
	}
	return f
}

// href is the address of the fleet with this filter.
func (f Filter) href() string {
	q := url.Values{}
	if f.Text != "" {
		q.Set(queryText, f.Text)
	}
	for _, label := range f.Labels {
		q.Add(queryLabel, label)
	}
	for _, s := range f.Statuses {
		q.Add(queryStatus, string(s))
	}
	for _, m := range f.Modes {
		q.Add(queryMode, string(m))
	}
	if f.Page > 1 {
		q.Set(queryPage, strconv.Itoa(f.Page))
	}
	return "/" + question(q)
}

// narrows reports whether it leaves anything out.
func (f Filter) narrows() bool {
	return f.Text != "" || len(f.Labels)+len(f.Statuses)+len(f.Modes) > 0
}

// toggled returns a list with one more, or with one less where it has that.
func toggled[T comparable](list []T, one T) []T {
	if slices.Contains(list, one) {
		return slices.DeleteFunc(slices.Clone(list), func(other T) bool { return other == one })
	}
	return append(slices.Clone(list), one)
}

// without is the filter without what one facet asks for, from the first page on.
func (f Filter) without(facet string) Filter {
	f.Page = 1
	switch facet {
	case queryStatus:
		f.Statuses = nil
	case queryMode:
		f.Modes = nil
	}
	return f
}

// keeps reports whether a certificate is shown.
func (f Filter) keeps(v *watchdog.View) bool {
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, v.Status) {
		return false
	}
	if len(f.Modes) > 0 && !slices.Contains(f.Modes, v.Mode) {
		return false
	}
	for _, label := range f.Labels {
		key, want, exact := strings.Cut(label, ":")
		if value, ok := v.Labels[key]; !ok || exact && value != want {
			return false
		}
	}
	return f.Text == "" || says(v, strings.ToLower(f.Text))
}

// says reports whether a text in small letters is in what a certificate is called.
func says(v *watchdog.View, text string) bool {
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if in(v.Name) || slices.ContainsFunc(slices.Collect(maps.Values(v.Labels)), in) {
		return true
	}
	if slices.ContainsFunc(v.Leaf.DNSNames, in) || strings.HasPrefix(string(v.Leaf.SHA256), text) {
		return true
	}
	if v.Stored != nil && len(v.Stored.Chain) > 0 && strings.HasPrefix(string(v.Stored.Chain[0].SHA256), text) {
		return true
	}
	return slices.ContainsFunc(v.Endpoints, func(e watchdog.EndpointView) bool {
		return in(e.Address) || slices.ContainsFunc(e.Addresses, func(a watchdog.AddressView) bool { return in(a.Address) })
	})
}
