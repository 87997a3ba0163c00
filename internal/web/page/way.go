package page

import (
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// picture is the way of a certificate's newest version as a drawing: a node for each stage, with the
// version and the time, and beneath the last one what is served in its place.
type picture struct {
	Width, Height int
	Nodes         []node
	Others        []elsewhere
}

// node is one stage.
type node struct {
	step
	X, Before int    // its middle, and that of the one before; 0: it is the first
	Version   string // that is there
	Verb      string // what happened then, where the stage does not say it
	When      moment
	Note      string
}

// elsewhere is another version that is served.
type elsewhere struct {
	Y     int
	Said  string
	Until moment
}

// The measures of the picture.
const (
	pictureWidth = 1000
	firstNode    = 100
	nodeStep     = 200
	wayHeight    = 150
	otherHeight  = 30
	mostOthers   = 3
)

// draw makes the picture; nil where no way is known.
func draw(v watchdog.View, now time.Time) *picture {
	steps := way(v)
	if len(steps) == 0 {
		return nil
	}
	p := &picture{Width: pictureWidth, Height: wayHeight}
	for i, s := range steps {
		n := node{step: s, X: firstNode + i*nodeStep}
		if i > 0 {
			n.Before = n.X - nodeStep
		}
		p.Nodes = append(p.Nodes, n.filled(v, now))
	}
	for i, other := range others(v) {
		if i == mostOthers {
			break
		}
		said := fmt.Sprintf("%s is served at %s", other.leaf.SHA256.Short(), places(other.count))
		p.Others = append(p.Others, elsewhere{Y: wayHeight + i*otherHeight, Said: said, Until: at(other.leaf.NotAfter, now)})
		p.Height += otherHeight
	}
	return p
}

func places(n int) string {
	if n == 1 {
		return "1 place"
	}
	return fmt.Sprintf("%d places", n)
}

// filled adds to a stage the version that is there, and since when as far as is known.
func (n node) filled(v watchdog.View, now time.Time) node {
	if v.Stored == nil || len(v.Stored.Chain) == 0 {
		return n
	}
	newest := v.Stored.Chain[0]
	if n.State == "done" || n.State == "stopped" {
		n.Version = newest.SHA256.Short()
	}
	switch n.Stage {
	case certmedic.StageIssued:
		n.When = at(newest.NotBefore, now)
	case certmedic.StageStored:
		n.When, n.Note = at(v.Stored.Since, now), "version "+v.Stored.Version
		if v.Stored.Version == "" || v.Stored.Version == newest.SHA256.Short() {
			n.Note = ""
		}
	case certmedic.StageDeployed:
		if a := v.Action; a != nil && a.Version == newest.SHA256 && a.Kind == certmedic.ActionRedeploy && n.Version != "" {
			n.When = at(a.EndedAt, now)
		}
	case certmedic.StageServed:
		same, all := serving(v, newest.SHA256)
		n.Note = fmt.Sprintf("%d of %s", same, places(all))
		if all == 0 {
			n.Note = ""
		}
		n.When, n.Verb = at(lookedAt(v), now), "looked "
	}
	return n
}

// serving counts the addresses that serve a version, and those that serve any.
func serving(v watchdog.View, version certmedic.Fingerprint) (same, all int) {
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			if leaf, ok := a.Leaf(); ok {
				all++
				if leaf.SHA256 == version {
					same++
				}
			}
		}
	}
	return same, all
}

// lookedAt returns when the endpoint was looked at whose last look is the oldest.
func lookedAt(v watchdog.View) time.Time {
	var oldest time.Time
	for _, e := range v.Endpoints {
		if oldest.IsZero() || e.Time.Before(oldest) {
			oldest = e.Time
		}
	}
	return oldest
}

// other is a version that is served in place of the stored one.
type other struct {
	leaf  certmedic.CertFacts
	count int
}

// others lists them, the one that most addresses serve first.
func others(v watchdog.View) []other {
	var all []other
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			leaf, ok := a.Leaf()
			if !ok || a.MatchesStored == nil || *a.MatchesStored {
				continue
			}
			i := slices.IndexFunc(all, func(o other) bool { return o.leaf.SHA256 == leaf.SHA256 })
			if i < 0 {
				all, i = append(all, other{leaf: leaf}), len(all)
			}
			all[i].count++
		}
	}
	slices.SortStableFunc(all, func(a, b other) int { return b.count - a.count })
	return all
}
