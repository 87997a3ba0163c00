package app_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// freeAddress returns an address to listen at, as members have to know each other's before they begin.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// shardMember is a member that shares out what is watched with the others, and can be asked by them.
func (s *site) shardMember(t *testing.T, name string) *daemon {
	t.Helper()
	address := freeAddress(t)
	return s.memberWith(t, name, fmt.Sprintf(`, shard: true, address: "http://%s"`, address), func(o *app.Options) {
		o.ListenAddresses = []string{address}
	})
}

func watches(s api.Status) []string {
	var names []string
	for _, v := range s.Certificates {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names
}

// TestShares has members share out what is watched: each thing is watched by one, also when members come and go, and any
// of them tells how everything is.
func TestShares(t *testing.T) {
	s := newSite(t)
	var all []string
	for i := range 12 {
		all = append(all, fmt.Sprintf("shop%02d", i))
	}
	s.configure(t, all...)
	first := s.shardMember(t, "m1")
	first.until(t, "watching everything", func(s api.Status) bool { return slices.Equal(watches(s), all) })
	second := s.shardMember(t, "m2")
	shared := func(one, other *daemon) func(api.Status) bool {
		return func(mine api.Status) bool {
			theirs, err := other.client.Status(t.Context())
			both := append(watches(mine), watches(theirs)...)
			slices.Sort(both)
			return err == nil && slices.Equal(both, all) && len(mine.Certificates) > 0 && len(theirs.Certificates) > 0
		}
	}
	got := first.until(t, "sharing", shared(first, second))
	kept := watches(got)
	if n := len(got.Cluster.Members); n != 2 {
		t.Errorf("%d members", n)
	}
	for _, v := range got.Certificates {
		if len(v.Endpoints) != 1 || v.Endpoints[0].Time.IsZero() {
			t.Errorf("%s has to be probed again, although it stayed", v.Name)
		}
	}
	f, err := second.client.Fleet(t.Context())
	var names []string
	for _, c := range f.Certificates {
		names = append(names, c.Name)
		if want := map[bool]string{true: "m1", false: "m2"}[slices.Contains(kept, c.Name)]; c.Member != want || len(c.SeenBy) != 1 {
			t.Errorf("%s is seen by %q, %v, want %q", c.Name, c.Member, c.SeenBy, want)
		}
	}
	slices.Sort(names)
	if err != nil || !slices.Equal(names, all) || len(f.Members) != 2 || f.Members[0].Error+f.Members[1].Error != "" {
		t.Errorf("the fleet is %v %+v, %v", names, f.Members, err)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	first.until(t, "watching everything again", func(s api.Status) bool {
		return slices.Equal(watches(s), all) && !slices.ContainsFunc(s.Certificates, func(v watchdog.View) bool { return v.Endpoints[0].Time.IsZero() || !v.Lead.Mine })
	})
}

// TestFleetOfStrangers asks members that do not answer as they should: each is named, and the others count.
func TestFleetOfStrangers(t *testing.T) {
	s := newSite(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere/api/v1/status" {
			http.Redirect(w, r, "/api/v1/status", http.StatusFound)
			return
		}
		fmt.Fprint(w, `{"cluster":{"member":"somebody"},"certificates":[{"certificate":"foreign"}]}`)
	}))
	t.Cleanup(other.Close)
	first := s.memberOf(t, "m1", "")
	for name, address := range map[string]string{"m2": other.URL, "m3": other.URL + "/elsewhere", "m4": "", "m5": "http://" + freeAddress(t)} {
		further := ""
		if address != "" {
			further = fmt.Sprintf(", address: %q", address)
		}
		s.memberOf(t, name, further)
	}
	first.until(t, "with five", func(s api.Status) bool { return len(s.Cluster.Members) == 5 })
	f, err := first.client.Fleet(t.Context())
	if err != nil || len(f.Members) != 5 || len(f.Certificates) != 1 || f.Certificates[0].Name != "shop" || f.Status != certmedic.StatusUnknown {
		t.Fatalf("%+v, %v", f, err)
	}
	for i, want := range []string{"", `another one than the member "m2"`, "302", "has no cluster.address", "refused"} {
		if m := f.Members[i]; want == "" && m.Error != "" || !strings.Contains(m.Error, want) {
			t.Errorf("of %s: %q, want %q", m.Name, m.Error, want)
		}
	}
}

// TestClusterStays refuses another cluster at a reload.
func TestClusterStays(t *testing.T) {
	s := newSite(t)
	m := s.memberOf(t, "m1", "")
	text, err := os.ReadFile(s.path("m1.yml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "m1.yml", strings.Replace(string(text), "lease: 2s", "lease: 3s", 1))
	m.reload <- syscall.SIGHUP
	m.until(t, "refused", func(api.Status) bool { return strings.Contains(m.log.String(), "cluster cannot change") })
}
