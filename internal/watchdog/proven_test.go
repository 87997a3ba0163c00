package watchdog

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
)

// proofs takes what a watchdog says is proven, and asks a deny list.
type proofs struct {
	told   []Proven
	denied map[certmedic.Fingerprint]bool
}

func (p *proofs) listen(s *scene) func(*Options) {
	p.denied = map[certmedic.Fingerprint]bool{}
	return func(o *Options) {
		o.Proven = func(v Proven) { s.locked(func() { p.told = append(p.told, v) }) }
		o.Denied = func(spki certmedic.Fingerprint) (is bool) {
			s.locked(func() { is = p.denied[spki] })
			return is
		}
	}
}

func (p *proofs) deny(s *scene, spki certmedic.Fingerprint) {
	s.locked(func() { p.denied[spki] = true })
	s.w.Denied(spki)
	synctest.Wait()
}

func TestWhatIsServedEverywhereIsProvenOnce(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t, certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}, certmedic.Endpoint{Address: "192.0.2.2:443", ServerName: "shop.test"})
		var p proofs
		s.start(p.listen(s))
		s.seen()
		s.round()
		if len(p.told) != 1 || !slices.Equal(p.told[0].Addresses, []string{"192.0.2.1:443", "192.0.2.2:443"}) {
			t.Fatalf("proven: %+v", p.told)
		}
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Second)
		s.serve(s.ep(0), renewed.Leaf)
		s.round()
		synctest.Wait()
		if len(p.told) != 1 {
			t.Errorf("proven while one address serves another version: %+v", p.told[1:])
		}
		s.serve(s.ep(1), renewed.Leaf)
		s.round()
		s.round()
		synctest.Wait()
		if len(p.told) != 2 || len(p.told[1].Stored.Chain) == 0 || p.told[1].Stored.Chain[0].SHA256 == p.told[0].Stored.Chain[0].SHA256 {
			t.Errorf("proven: %+v", p.told)
		}
	})
}

func TestWhatIsNotProven(t *testing.T) {
	for _, row := range []struct {
		about string
		spoil func(s *scene, p *proofs)
	}{
		{"an address presents nothing", func(s *scene, _ *proofs) { s.serve(s.ep(1), nil) }},
		{"it has expired", func(*scene, *proofs) { time.Sleep(lifetime + time.Minute) }},
		{"it is somebody else's", func(s *scene, _ *proofs) { s.cert.Watched = true }},
		{"its key is denied", func(s *scene, p *proofs) { p.denied[s.spki()] = true }},
	} {
		t.Run(row.about, func(t *testing.T) {
			run(t, func(t *testing.T) {
				s := newScene(t, certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}, certmedic.Endpoint{Address: "192.0.2.2:443", ServerName: "shop.test"})
				var p proofs
				listen := p.listen(s)
				row.spoil(s, &p)
				s.start(listen)
				s.seen()
				if len(p.told) != 0 {
					t.Errorf("proven: %+v", p.told)
				}
			})
		})
	}
}

// spki returns the key of what the first endpoint serves.
func (s *scene) spki() certmedic.Fingerprint {
	o := s.probe(s.t.Context(), s.ep(0))
	return o.Addresses[0].Chain[0].SPKISHA256
}

func TestADeniedKeyIsAFactAtOnce(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		var p proofs
		s.start(p.listen(s))
		s.seen()
		if c := s.facts(); c.KeyDenied == nil || *c.KeyDenied {
			t.Fatalf("before it was denied: %v", c.KeyDenied)
		}
		p.deny(s, s.spki())
		c := s.facts()
		if !*c.KeyDenied || len(c.Support["certificate.key_denied"].Members) != 2 || s.told("firing key-denied-in-use") != 1 {
			t.Errorf("denied while it is stored and served: %v, %+v, told %+v", *c.KeyDenied, c.Support["certificate.key_denied"], s.news)
		}
		sight, err := s.w.Look(t.Context(), "shop")
		if err != nil || !sight.Addresses[0].Dire {
			t.Errorf("a denied key that is served is not dire: %+v %v", sight.Addresses, err)
		}
		renewed := s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Second)
		if c := s.facts(); !*c.KeyDenied {
			t.Error("a denied key is still served, and nobody says so")
		}
		s.serve(s.ep(0), renewed.Leaf)
		s.round()
		synctest.Wait()
		if c := s.facts(); *c.KeyDenied {
			t.Errorf("another key is stored and served: %+v", c.Support["certificate.key_denied"])
		}
	})
}

func TestWithoutADenyListNothingIsSaidOfIt(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		if c := s.facts(); c.KeyDenied != nil {
			t.Errorf("denied: %v", *c.KeyDenied)
		}
	})
}
