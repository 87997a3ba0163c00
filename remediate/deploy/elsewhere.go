package deploy

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Elsewhere is what a plan does on other hosts for one destination, on each of them the same.
type Elsewhere struct {
	Destination certmedic.Destination `json:"-"` // what Name, Rollout and Commands follow from
	Name        string                `json:"destination"`
	Hosts       []string              `json:"hosts"`
	Rollout     certmedic.Rollout     `json:"rollout"`
	Files       []File                `json:"files"` // Mode and Owner are empty where what is there is kept
	Commands    []Remote              `json:"commands"`
}

// Remote is a command on another host.
type Remote struct {
	Name  string        `json:"name"` // "web: reload"
	Phase Phase         `json:"phase"`
	Argv  []string      `json:"argv"`
	For   time.Duration `json:"for_ns,omitempty"` // as for a [Command]
}

// Content returns what is installed as the file. It may hold the private key.
func (f File) Content() []byte { return f.data }

// split returns the destinations that are on this host, and those that are on others; one on both
// is in both.
func split(destinations []certmedic.Destination) (here, there []certmedic.Destination) {
	for _, d := range destinations {
		if d.Local() {
			here = append(here, d)
		}
		if len(d.Remote()) > 0 {
			there = append(there, d)
		}
	}
	return here, there
}

// elsewhere plans the destinations on other hosts. Who owns and may write what on them is for the
// deployment to see: nothing of this host says it.
func (p *Plan) elsewhere(destinations []certmedic.Destination, stored certmedic.Stored, reloadOnly bool) error {
	if len(destinations) == 0 {
		return nil
	}
	var all *parts
	if !reloadOnly {
		var err error
		if all, err = read(stored.Files, stored.Chain); err != nil {
			return err
		}
	}
	for _, d := range destinations {
		e := Elsewhere{Destination: d, Name: d.Name, Hosts: d.Remote(), Rollout: d.Rollout, Files: []File{}, Commands: remoteCommands(d)}
		for _, f := range slices.SortedStableFunc(slices.Values(d.Files), byRole) {
			if reloadOnly {
				break
			}
			file, err := all.file(f)
			if err != nil {
				return err
			}
			file.InstalledFile, file.Swap = f, d.Swap // the mode and the owner are those of the other host
			e.Files = append(e.Files, file)
		}
		if len(e.Files)+len(e.Commands) > 0 {
			p.Elsewhere = append(p.Elsewhere, e)
		}
	}
	return nil
}

// remoteCommands returns what a destination runs on each of its other hosts, in order.
func remoteCommands(d certmedic.Destination) []Remote {
	all := []Remote{}
	for _, argv := range d.Prepare {
		all = append(all, Remote{Name: d.Name + ": " + string(PhasePrepare), Phase: PhasePrepare, Argv: argv})
	}
	for _, c := range []Remote{
		{Phase: PhaseTest, Argv: d.Test}, {Phase: PhaseReload, Argv: d.Reload}, {Phase: PhaseAlive, Argv: d.Alive, For: d.AliveFor},
	} {
		if len(c.Argv) > 0 {
			c.Name = d.Name + ": " + string(c.Phase)
			all = append(all, c)
		}
	}
	return all
}

// ContentSHA256 returns the SHA-256 of what is installed as the file, as 64 hexadecimal digits.
func (f File) ContentSHA256() string { return sum(f.data) }
