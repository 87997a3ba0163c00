// Package sd reads targets in the forms of Prometheus' service discovery: files (file_sd),
// HTTP (http_sd) and DNS (dns_sd). It is called by package discover. What it reads is bounded
// and strict: a mistake is told with its place, and nothing is guessed.
package sd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

const (
	maxTargets = 100_000  // of one answer or file, and of all together
	maxSize    = 16 << 20 // of one answer or file, in bytes
)

// Group is a list of targets with labels that all of them have.
type Group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// check refuses more targets than are read.
func check(groups []Group) error {
	count := 0
	for _, g := range groups {
		count += len(g.Targets)
	}
	if count > maxTargets {
		return fmt.Errorf("more than %d targets", maxTargets)
	}
	return nil
}

// Endpoints makes endpoints of targets, each once, sorted, because servers may give the same
// targets in another order each time. Of targets that differ in their labels alone, the one
// with most of them is taken. A target is what parse
// takes: host:port, or a URL. Labels that begin with two underscores mean what they mean to
// an exporter: __param_target is asked in place of the target, __param_module names the
// module, __param_hostname or __server_name the name that is asked for; others of that kind
// are left out. The rest become the endpoints' labels. A target that is none is an error,
// and hides none of the others.
func Endpoints(groups []Group, parse func(target string) (certmedic.Endpoint, error)) ([]certmedic.Endpoint, []error) {
	if err := check(groups); err != nil {
		return nil, []error{fmt.Errorf("service discovery: %w", err)}
	}
	var out []certmedic.Endpoint
	var errs []error
	for _, g := range groups {
		for _, target := range g.Targets {
			e, err := parse(cmp.Or(g.Labels["__param_target"], target))
			if err != nil {
				errs = append(errs, fmt.Errorf("service discovery: %w", err))
				continue
			}
			out = append(out, g.label(e))
		}
	}
	slices.SortFunc(out, func(a, b certmedic.Endpoint) int {
		if order := compare(a, b); order != 0 {
			return order
		}
		return cmp.Or(cmp.Compare(len(b.Labels), len(a.Labels)), strings.Compare(labels(a), labels(b)))
	})
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return slices.CompactFunc(out, func(a, b certmedic.Endpoint) bool { return compare(a, b) == 0 }), errs
}

// compare orders endpoints by what is asked, and how.
func compare(a, b certmedic.Endpoint) int {
	return cmp.Or(
		strings.Compare(a.Address, b.Address), strings.Compare(a.Protocol, b.Protocol), strings.Compare(a.ServerName, b.ServerName),
		strings.Compare(a.Path, b.Path), strings.Compare(a.Module, b.Module),
	)
}

func labels(e certmedic.Endpoint) string { return fmt.Sprintf("%q", e.Labels) } // fmt sorts maps

// label gives an endpoint what the group's labels say.
func (g Group) label(e certmedic.Endpoint) certmedic.Endpoint {
	e.Module = cmp.Or(g.Labels["__param_module"], e.Module)
	e.ServerName = cmp.Or(g.Labels["__param_hostname"], g.Labels["__server_name"], e.ServerName)
	labels := maps.Clone(g.Labels)
	maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, "__") })
	if len(labels) > 0 {
		e.Labels = labels
	}
	return e
}

// errTooLarge says that something has more than maxSize bytes.
var errTooLarge = errors.New("larger than 16 MiB")
