package page

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// versions says which place has which version: a row for each place, a column for each version.
type versions struct {
	Columns []column
	Rows    []versionRow
	More    int // places that are not shown
	Fewer   int // versions that are not shown
}

type column struct {
	Version certmedic.Fingerprint
	Until   moment
	Newest  bool // the one that is stored
}

type versionRow struct {
	Place, Detail string
	Cells         []versionCell
}

// versionCell is one version at one place; without a word it is not there.
type versionCell struct {
	Head   string // the version, for narrow screens
	Status certmedic.Status
	Word   string
}

// The bounds of the table. All of it is in the answer of /api/v1/status.
const (
	mostVersions = 6
	mostPlaces   = 200
)

// newVersions makes the table; nil where no version is known.
func newVersions(v watchdog.View, now time.Time) *versions {
	leaves, newest := leavesOf(v)
	if len(leaves) == 0 {
		return nil
	}
	m := &versions{Fewer: max(0, len(leaves)-mostVersions)}
	for _, leaf := range leaves[:min(len(leaves), mostVersions)] {
		m.Columns = append(m.Columns, column{leaf.SHA256, at(leaf.NotAfter, now), leaf.SHA256 == newest})
	}
	if newest != "" {
		m.add("in the source", "", newest, versionCell{Status: certmedic.StatusOK, Word: "stored"})
	}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			detail := ""
			if a.Address != e.Address || a.Variant != certmedic.VariantUsual {
				detail = a.Address + a.Variant.Note()
			}
			version, c := cellOf(v, a)
			m.add(e.Address, detail, version, c)
		}
	}
	return m
}

func (m *versions) add(place, detail string, version certmedic.Fingerprint, c versionCell) {
	if len(m.Rows) == mostPlaces {
		m.More++
		return
	}
	r := versionRow{Place: place, Detail: detail}
	for _, col := range m.Columns {
		one := versionCell{Head: col.Version.Short()}
		if col.Version == version {
			one.Status, one.Word = c.Status, c.Word
		}
		r.Cells = append(r.Cells, one)
	}
	m.Rows = append(m.Rows, r)
}

// cellOf says what an address has.
func cellOf(v watchdog.View, a watchdog.AddressView) (certmedic.Fingerprint, versionCell) {
	leaf, ok := a.Leaf()
	switch {
	case !ok && a.LastSeen == nil:
		return "", versionCell{}
	case !ok:
		return a.LastSeen.SHA256, versionCell{Status: certmedic.StatusUnknown, Word: "served last"}
	case a.MatchesStored == nil || *a.MatchesStored:
		return leaf.SHA256, versionCell{Status: certmedic.StatusOK, Word: "served"}
	case v.Stage == certmedic.StageDeploying:
		return leaf.SHA256, versionCell{Status: busy, Word: "served"}
	}
	return leaf.SHA256, versionCell{Status: certmedic.StatusWarning, Word: "served"}
}

// leavesOf lists every version that is stored or served, the stored one first and then the newest.
func leavesOf(v watchdog.View) (leaves []certmedic.CertFacts, newest certmedic.Fingerprint) {
	add := func(leaf certmedic.CertFacts) {
		if !slices.ContainsFunc(leaves, func(l certmedic.CertFacts) bool { return l.SHA256 == leaf.SHA256 }) {
			leaves = append(leaves, leaf)
		}
	}
	if v.Stored != nil && len(v.Stored.Chain) > 0 {
		newest = v.Stored.Chain[0].SHA256
		add(v.Stored.Chain[0])
	}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			if leaf, ok := a.Leaf(); ok {
				add(leaf)
			} else if a.LastSeen != nil {
				add(*a.LastSeen)
			}
		}
	}
	slices.SortStableFunc(leaves, func(a, b certmedic.CertFacts) int {
		switch newest {
		case a.SHA256:
			return -1
		case b.SHA256:
			return 1
		}
		return b.NotBefore.Compare(a.NotBefore)
	})
	return leaves, newest
}
