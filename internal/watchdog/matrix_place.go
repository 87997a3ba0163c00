package watchdog

import (
	"net/netip"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// presented is one address of an endpoint, asked for one type of key, with what is compared there.
type presented struct {
	row    MatrixRow
	name   string // of the endpoint
	last   certmedic.AddressObservation
	stored certmedic.CertFacts
	split  bool
}

// places returns the addresses of an endpoint as they were observed last. Those of a name that does not
// resolve any more are those that it had.
func (s *surveyor) places(e *entry, ep certmedic.Endpoint) []presented {
	name := e.name(ep)
	o, ok := e.observed[name]
	if !ok {
		stored, _ := e.stored.Leaf()
		return []presented{{name: name, stored: stored, row: MatrixRow{
			Endpoint: name, KeyType: keyType(stored), Stored: stored.SHA256, Served: []ServedVersion{}, Deployed: []DeployedVersion{},
		}}}
	}
	seen := o.Addresses
	lost := e.unresolved(name, o)
	if len(lost) > 0 {
		seen = lost
	}
	var all []presented
	for _, a := range seen {
		if a.Variant != certmedic.VariantNoSNI {
			all = append(all, s.presented(e, ep, a, len(lost) > 0 || e.speaks(a, o.Addresses)))
		}
	}
	return all
}

func (s *surveyor) presented(e *entry, ep certmedic.Endpoint, a certmedic.AddressObservation, own bool) presented {
	p := presented{name: e.name(ep), last: a}
	p.stored, _ = e.stored.Leaf()
	p.row = MatrixRow{Endpoint: p.name, Address: a.Address, KeyType: string(a.Variant), Served: []ServedVersion{}, Deployed: []DeployedVersion{}}
	leaf, reached := a.Leaf()
	switch {
	case a.Variant != certmedic.VariantUsual:
	case reached:
		p.row.KeyType = keyType(leaf)
	default:
		p.row.KeyType = keyType(p.stored)
	}
	if !own {
		p.row.Foreign = true
		p.row.Of, p.stored = s.owner(ep.Key(), p.row.KeyType)
	}
	p.row.Stored = p.stored.SHA256
	if t := e.tracks[spot{p.name, a.Address, a.Variant}]; t != nil {
		p.take(t, e.settled(s.now))
	}
	return p
}

// keyType returns the type of a leaf's key as clients ask for it.
func keyType(leaf certmedic.CertFacts) string {
	if class := inspect.KeyClass(leaf); class != certmedic.VariantUsual {
		return string(class)
	}
	return leaf.KeyType
}

// take takes what the last probes saw. Where there was none since certmedic itself moved versions, the last
// one speaks.
func (p *presented) take(t *track, settled time.Time) {
	samples := t.from(settled)
	if len(samples) == 0 {
		samples = t.samples[len(t.samples)-1:]
	}
	p.row.Samples, p.split = len(samples), alternates(samples)
	if !p.last.Reached() {
		return
	}
	for _, sample := range slices.Backward(samples) {
		i := slices.IndexFunc(p.row.Served, func(v ServedVersion) bool { return v.Version == sample.version })
		switch {
		case i >= 0:
			p.row.Served[i].Count++
			p.row.Served[i].Since = sample.at
		case sample.version != "" && (p.split || len(p.row.Served) == 0):
			p.row.Served = append(p.row.Served, ServedVersion{Version: sample.version, Since: sample.at, Count: 1})
		}
	}
	if !p.split {
		p.row.Served[0].Since = t.since
	}
}

// judge says what is wrong, in the order of what explains the most.
func (p *presented) judge(e *entry, now time.Time) {
	served, reached := p.last.Leaf()
	d, behind := lacking(p.row.Deployed, p.row.Stored)
	say := func(v Verdict, detail string) { p.row.Verdict, p.row.Detail = v, detail }
	switch {
	case p.last.Stage == "":
		say(VerdictUnknown, "it was not probed yet")
	case e.old(p.name, now) != "":
		say(VerdictUnknown, e.old(p.name, now))
	case !reached:
		say(VerdictUnreachable, "")
		if p.last.Error != nil {
			p.row.Detail = p.last.Error.Detail
		}
	case p.row.Foreign && p.row.Stored == "":
		say(VerdictUnknown, "this type of key is of a certificate that is not managed here")
	case p.row.Stored == "":
		say(VerdictUnknown, "nothing is known to be stored")
	case p.split:
		say(VerdictSplit, "")
	case served.SHA256 == p.row.Stored:
		say(VerdictServed, "")
	case e.deploying():
		say(VerdictUnknown, "a deployment is under way")
	case e.observed[p.name].Time.Before(e.changed):
		say(VerdictUnknown, "it was not probed since the stored version changed")
	case newer(served, p.stored):
		say(VerdictNewer, "")
	case e.lends(served.SHA256):
		say(VerdictStale, "a rollback lends it in place of the stored version")
	case behind:
		say(VerdictBehind, d.Detail)
	default:
		say(VerdictStale, "")
	}
}

// owner returns the certificate that a type of key belongs to which an endpoint of another one has too, and
// its stored version.
func (s *surveyor) owner(ep certmedic.EndpointKey, keys string) (name string, stored certmedic.CertFacts) {
	if s.owners == nil {
		s.owners = map[certmedic.EndpointKey][]*entry{}
		for _, name := range s.w.order {
			e := s.w.entries[name]
			for _, its := range e.cert.Endpoints {
				if !e.cert.Watched {
					s.owners[its.Key()] = append(s.owners[its.Key()], e)
				}
			}
		}
	}
	for _, e := range s.owners[ep] {
		if leaf, ok := e.stored.Leaf(); ok && keyType(leaf) == keys {
			return e.cert.Name, leaf
		}
	}
	return "", certmedic.CertFacts{}
}

// node returns the node that an address is of; empty where none is known.
func (s *surveyor) node(e *entry, address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	ip := at.Addr().Unmap()
	for _, n := range e.cert.Nodes {
		isIt := func(address string) bool {
			its, err := netip.ParseAddr(address)
			return err == nil && its.Unmap() == ip
		}
		if slices.ContainsFunc(n.Addresses, isIt) || slices.Contains(s.addresses(n.Name), ip) {
			return n.Name
		}
	}
	if ip.IsLoopback() || slices.Contains(s.addresses(certmedic.LocalHost), ip) {
		return certmedic.LocalHost
	}
	return ""
}

func (s *surveyor) addresses(node string) []netip.Addr {
	if s.w.o.Addresses == nil {
		return nil
	}
	return s.w.o.Addresses(node)
}

// deployed returns what each destination has, by node. What a version is pushed to is on none.
func (s *surveyor) deployed(e *entry) map[string][]DeployedVersion {
	var last []certmedic.NodeStatus
	if s.w.o.Nodes != nil && len(e.cert.Nodes) > 0 {
		last = s.w.o.Nodes(e.cert.Name)
	}
	all := map[string][]DeployedVersion{}
	for i := range e.cert.Destinations {
		d := &e.cert.Destinations[i]
		if d.Push.Some() {
			continue
		}
		hosts := d.Hosts
		if len(hosts) == 0 {
			hosts = []string{certmedic.LocalHost}
		}
		for _, host := range hosts {
			v := DeployedVersion{Destination: d.Name}
			for _, n := range last {
				if n.Destination == d.Name && n.Node == host {
					v = DeployedVersion{d.Name, len(d.Files) > 0, n.Version, n.State, n.Since, n.Detail} // a reload installs nothing
				}
			}
			if host == certmedic.LocalHost {
				e.held(d, &v)
			}
			all[host] = append(all[host], v)
		}
	}
	return all
}

// held takes from the files of a destination on this host which version it has.
func (e *entry) held(d *certmedic.Destination, v *DeployedVersion) {
	var versions []certmedic.Fingerprint
	for _, f := range d.Files {
		if version, read := e.copies[f.To]; read && f.From.HasLeaf() && !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	switch len(versions) {
	case 0: // not read yet, or no file of it says
	case 1:
		v.Known, v.Version = true, versions[0]
	default:
		v.Known, v.Version, v.Detail = true, "", "its files hold different versions"
	}
}
