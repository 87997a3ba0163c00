package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/docs"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/assets"
	"github.com/certmedic/certmedic/internal/web/page"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// How much the pages show.
const (
	shownEntries = 200    // actions and incidents of a list
	shownPast    = 50     // of one certificate
	kept         = 10_000 // among which one is looked for by its ID
)

// errNoPage says that what a page is about is not there.
var errNoPage = errors.New("no such page")

// pages adds the pages for people.
func (s *Server) pages(mux *http.ServeMux) {
	for path, content := range map[string]func(*http.Request) (page.Content, error){
		"/{$}":                 s.fleetPage,
		"/certificates/{name}": s.certificatePage,
		"/incidents":           s.incidentsPage,
		"/incidents/{id}":      s.incidentPage,
		"/actions":             s.actionsPage,
		"/actions/{id}":        s.actionPage,
		"/calendar":            s.calendarPage,
		"/ledger":              s.ledgerPage,
		"/silences":            s.silencesPage,
		"/receivers":           s.receiversPage,
		"/watchdog":            s.watchdogPage,
		"/runbooks":            func(*http.Request) (page.Content, error) { return page.Runbooks{}, nil },
		"/runbooks/{name}":     runbookPage,
		"/{other}":             missingPage,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			c, err := content(r)
			s.show(w, r, c, err)
		})
	}
	mux.Handle("GET /certificates", http.RedirectHandler("/", http.StatusFound))
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", assets.Handler()))
}

// show sends a page, or one that says why there is none.
func (s *Server) show(w http.ResponseWriter, r *http.Request, c page.Content, err error) {
	code := http.StatusOK
	switch {
	case errors.Is(err, errNoPage):
		c, code = page.Missing{What: err.Error()}, http.StatusNotFound
	case errors.Is(err, errNotAllowed):
		c, code = page.Refused{Why: err.Error()}, http.StatusForbidden
	case err != nil:
		c, code = page.Broken{Why: err.Error()}, http.StatusInternalServerError
	}
	s.write(w, r, c, code)
}

// write sends a page with a status.
func (s *Server) write(w http.ResponseWriter, r *http.Request, c page.Content, code int) {
	var b bytes.Buffer
	frame := page.Frame{Version: s.o.Version, Now: time.Now(), Self: r.URL, Still: r.URL.Query().Has("still")}
	if err := page.Render(&b, frame, c); err != nil {
		s.o.Log.Error("page", "path", r.URL.Path, "err", err)
		http.Error(w, "this page cannot be shown: see the log", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", page.ContentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with less, browsers call the origin of a form null
	h.Set("Cache-Control", "private, no-cache")
	send(w, r, code, b.Bytes())
}

// send sends a body, packed where the client takes that.
func send(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var packed bytes.Buffer
		z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level is a good one
		_, _ = z.Write(body)                                 // a buffer takes everything
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		body = packed.Bytes()
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have gone
	}
}

// trusted reports whether who asks may read what commands wrote, and would run: on the socket, and
// where a listener asks for a login.
func (s *Server) trusted(r *http.Request) bool {
	return !open(r) || s.o.Login() && named(r) != ""
}

// status is the present picture as who asks may read it.
func (s *Server) status(r *http.Request) api.Status {
	status := s.o.Backend.Status()
	if !s.trusted(r) {
		status.Certificates = openViews(status.Certificates)
		status.Fleet, status.Receivers = openIncidents(status.Fleet), openReceivers(status.Receivers)
	}
	return status
}

func (s *Server) readIncidents(r *http.Request, certificate string, limit int) ([]certmedic.Incident, error) {
	incidents, err := s.o.Backend.Incidents(certificate, limit)
	if !s.trusted(r) {
		incidents = openIncidents(incidents)
	}
	return incidents, err
}

func (s *Server) readActions(r *http.Request, certificate string, limit int) ([]certmedic.Action, error) {
	actions, err := s.o.Backend.History(certificate, limit)
	if !s.trusted(r) {
		actions = openActions(actions)
	}
	return actions, err
}

// plans lists the plans that people were asked about.
func (s *Server) plans() []approval.Approval {
	if s.o.Approvals == nil {
		return nil
	}
	return s.o.Approvals.Plans()
}

func (s *Server) fleetPage(r *http.Request) (page.Content, error) {
	status := s.status(r)
	return page.Fleet{
		Views: status.Certificates, Incidents: status.Fleet, Plans: s.plans(), Degraded: status.Degraded,
		Acknowledged: lookedAfter(status.Acknowledged), Silences: s.o.Silences.Silences(false), Filter: page.ParseFilter(r.URL.Query()),
	}, nil
}

func (s *Server) certificatePage(r *http.Request) (page.Content, error) {
	name, status := r.PathValue("name"), s.status(r)
	view := viewOf(status, name)
	if view == nil {
		return nil, fmt.Errorf("%w: no certificate is called %q", errNoPage, name)
	}
	incidents, err := s.readIncidents(r, name, shownPast+len(view.Incidents))
	if err != nil {
		return nil, err
	}
	actions, err := s.readActions(r, name, shownPast)
	if err != nil {
		return nil, err
	}
	c := page.Certificate{
		View: *view, Actions: actions, Plans: s.plans(), Acknowledged: lookedAfter(status.Acknowledged), Trusted: s.trusted(r),
		Incidents: slices.DeleteFunc(incidents, certmedic.Incident.Open),
	}
	if c.Kept, err = s.keptVersions(name); err != nil {
		c.NotKept = err.Error()
	}
	return c, nil
}

func (s *Server) keptVersions(name string) ([]snapshot.Snapshot, error) {
	if s.o.Versions == nil {
		return nil, nil
	}
	return s.o.Versions.Snapshots(name)
}

func viewOf(status api.Status, name string) *watchdog.View {
	for i := range status.Certificates {
		if status.Certificates[i].Name == name {
			return &status.Certificates[i]
		}
	}
	return nil
}

func (s *Server) incidentsPage(r *http.Request) (page.Content, error) {
	incidents, err := s.readIncidents(r, "", shownEntries)
	return page.Incidents{Incidents: incidents, Acknowledged: lookedAfter(s.o.Acks.Acknowledged())}, err
}

func (s *Server) incidentPage(r *http.Request) (page.Content, error) {
	id := r.PathValue("id")
	incidents, err := s.readIncidents(r, "", kept)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(incidents, func(in certmedic.Incident) bool { return in.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: no incident %q is kept", errNoPage, id)
	}
	c := page.Incident{Incident: incidents[i], Acknowledged: lookedAfter(s.o.Acks.Acknowledged()), Trusted: s.trusted(r)}
	if name := c.Incident.Subject.Certificate; name != "" {
		c.View = viewOf(s.status(r), name)
		c.Actions, err = s.readActions(r, name, kept)
	}
	return c, err
}

func (s *Server) actionsPage(r *http.Request) (page.Content, error) {
	actions, err := s.readActions(r, "", shownEntries)
	return page.Actions{Actions: actions, Plans: s.plans(), Trusted: s.trusted(r)}, err
}

func (s *Server) actionPage(r *http.Request) (page.Content, error) {
	id := r.PathValue("id")
	actions, err := s.readActions(r, "", kept)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(actions, func(a certmedic.Action) bool { return a.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: no action %q is kept", errNoPage, id)
	}
	return page.Action{Action: actions[i], Trusted: s.trusted(r)}, nil
}

func (s *Server) calendarPage(r *http.Request) (page.Content, error) {
	return page.Calendar{Views: s.status(r).Certificates}, nil
}

func (s *Server) ledgerPage(r *http.Request) (page.Content, error) {
	return page.Ledger{Views: s.status(r).Certificates}, nil
}

func (s *Server) silencesPage(r *http.Request) (page.Content, error) {
	return page.Silences{Silences: s.o.Silences.Silences(true), Trusted: s.trusted(r)}, nil
}

func (s *Server) receiversPage(r *http.Request) (page.Content, error) {
	return page.Receivers{Receivers: s.status(r).Receivers}, nil
}

func (s *Server) watchdogPage(r *http.Request) (page.Content, error) {
	return page.Watchdog{Status: s.status(r), Rules: s.o.Backend.Rules()}, nil
}

func runbookPage(r *http.Request) (page.Content, error) {
	name := r.PathValue("name")
	markdown, ok := docs.Page(name)
	if !ok {
		return nil, fmt.Errorf("%w: no runbook is called %q", errNoPage, name)
	}
	return page.Runbook{Name: name, Markdown: markdown}, nil
}

func missingPage(r *http.Request) (page.Content, error) {
	return nil, fmt.Errorf("%w: nothing is called %q", errNoPage, r.URL.Path)
}
