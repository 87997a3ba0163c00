package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// The bounds of asking the other members.
const (
	fleetTimeout = 5 * time.Second
	fleetInAll   = 15 * time.Second // for all members, however many do not answer
	fleetAtOnce  = 4                // members at a time
	maxFleet     = 128 << 20        // bytes of a member's answer
	fleetAge     = time.Second
)

// fleetView is what all members said last. Whoever asks within a second gets the same, so that asking one member often is no
// load for the others.
type fleetView struct {
	mu   sync.Mutex
	last api.Fleet
}

// Everywhere returns what all members see.
func (a *App) Everywhere(ctx context.Context) api.Fleet {
	a.fleet.mu.Lock()
	defer a.fleet.mu.Unlock()
	if age := time.Since(a.fleet.last.Time); age >= 0 && age < fleetAge {
		return a.fleet.last
	}
	f := merged(a.askMembers(ctx))
	if ctx.Err() == nil { // else somebody hung up before all had answered
		a.fleet.last = f
	}
	return f
}

// said is what a member answered.
type said struct {
	member coord.Member
	status api.Status
	err    error
}

// askMembers asks every living member for its status, this one included.
func (a *App) askMembers(ctx context.Context) []said {
	ctx, cancel := context.WithTimeout(ctx, fleetInAll)
	defer cancel()
	members := a.cluster.Members()
	all := make([]said, len(members))
	client, errClient := a.cluster.client()
	slots := make(chan struct{}, fleetAtOnce)
	var wg sync.WaitGroup
	for i, m := range members {
		all[i].member = m
		if m.Name == a.cluster.self.Name {
			all[i].status = a.Status()
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if all[i].err = errClient; errClient == nil {
				all[i].status, all[i].err = a.cluster.ask(ctx, client, m)
			}
		})
	}
	wg.Wait()
	if client != nil {
		client.CloseIdleConnections()
	}
	return all
}

// client returns what other members are asked with. It follows no redirects, so that a login goes nowhere else.
func (c *cluster) client() (*http.Client, error) {
	if c.setting == nil {
		return nil, nil //nolint:nilnil // there is nobody to ask
	}
	t, err := tlsFor(c.setting.CAFile, "", "")
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: fleetTimeout, Transport: &http.Transport{TLSClientConfig: t, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// ask asks a member for its status.
func (c *cluster) ask(ctx context.Context, client *http.Client, m coord.Member) (s api.Status, err error) {
	u, err := url.Parse(m.Address)
	switch {
	case m.Address == "":
		return s, errors.New("it has no cluster.address, so that others cannot ask it")
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil:
		return s, fmt.Errorf("its address %q is no URL of a page", m.Address)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("/api/v1/status").String(), nil)
	if err != nil {
		return s, err
	}
	password, err := readPassword(c.setting.PasswordFile)
	if err != nil {
		return s, err
	}
	if c.setting.Username != "" {
		request.SetBasicAuth(c.setting.Username, password)
	}
	answer, err := client.Do(request)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("it answered %s", answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxFleet+1))
	if err != nil {
		return s, err
	}
	if len(data) > maxFleet {
		return s, fmt.Errorf("its answer is larger than %d bytes", maxFleet)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return api.Status{}, fmt.Errorf("reading its answer: %w", err)
	}
	if s.Cluster == nil || s.Cluster.Member != m.Name {
		return api.Status{}, fmt.Errorf("at %s answers another one than the member %q", m.Address, m.Name)
	}
	return s, nil
}

// merged puts together what members said.
func merged(all []said) api.Fleet {
	f := api.Fleet{Time: time.Now().UTC(), Status: certmedic.StatusOK, Members: []api.FleetMember{}, Certificates: []api.FleetCertificate{}}
	byName := map[string]*api.FleetCertificate{}
	for _, s := range all {
		m := api.FleetMember{
			Member:  api.Member{Name: s.member.Name, Address: s.member.Address, Started: s.member.Started},
			Version: s.status.Version, Status: s.status.Status, Certificates: len(s.status.Certificates), Degraded: s.status.Degraded,
		}
		if s.err != nil {
			m.Status, m.Error = certmedic.StatusUnknown, s.err.Error()
		}
		f.Members = append(f.Members, m)
		f.Status = f.Status.Worse(m.Status)
		for _, v := range s.status.Certificates {
			see(byName, s.member.Name, v)
		}
	}
	for _, c := range byName {
		f.Certificates = append(f.Certificates, *c)
	}
	slices.SortFunc(f.Certificates, func(a, b api.FleetCertificate) int {
		if a.Status != b.Status {
			if a.Status.Worse(b.Status) == a.Status {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return f
}

// see adds how a member sees a certificate. Of several views that of the member that acts counts, else the worst.
func see(all map[string]*api.FleetCertificate, member string, v watchdog.View) {
	leads := v.Lead != nil && v.Lead.Mine && v.Lead.Token != 0 // not each for its own
	c, known := all[v.Name]
	if !known {
		c = &api.FleetCertificate{Name: v.Name, Status: v.Status, SeenBy: map[string]certmedic.Status{}, Member: member, View: v}
		all[v.Name] = c
	}
	c.SeenBy[member] = v.Status
	worse := c.Status.Worse(v.Status) != c.Status
	c.Status = c.Status.Worse(v.Status)
	if c.Leader == "" && (leads || worse) {
		c.Member, c.View = member, v
	}
	if leads {
		c.Leader = member
	}
}
