package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/web/page"
)

// maxForm bounds what a form may send, in bytes.
const maxForm = 64 << 10

// actPatience is how long a form waits for the end of the action that it asked for. One that takes
// longer is followed on the page of its certificate.
const actPatience = 2 * time.Second

// errNotAllowed says that who asks may not do that.
var errNotAllowed = errors.New("this is for people who log in: set basic_auth_users in --web.config.file and send SIGHUP, or use the command line")

// deed does what a form asks for, and returns the page that shows what came of it.
type deed func(r *http.Request, by string) (next string, err error)

// deeds adds what those who log in can do on the pages. Each is a form, so that it works without
// scripts, and is taken from the pages of this very listener only.
func (s *Server) deeds(mux *http.ServeMux) {
	for path, do := range map[string]deed{
		"/act": s.actDeed, "/plans": s.planDeed, "/silences": s.silenceDeed, "/silences/end": s.unsilenceDeed, "/acknowledge": s.acknowledgeDeed,
	} {
		mux.Handle("POST "+path, s.deed(do))
	}
	mux.HandleFunc("GET /act", func(w http.ResponseWriter, r *http.Request) {
		c, err := s.actPage(r)
		s.show(w, r, c, err)
	})
}

func (s *Server) deed(do deed) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := named(r)
		if err := sameOrigin.Check(r); err != nil || !fromBrowser(r) {
			s.refuse(w, r, fmt.Errorf("%w: the form was not one of these pages", errNotAllowed))
			return
		}
		if !s.o.Login() || by == "" {
			s.refuse(w, r, errNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			s.refuse(w, r, fmt.Errorf("reading the form: %w", err))
			return
		}
		next, err := do(r, by)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
}

// fromBrowser reports whether a request says where it comes from, as the form of a page does in every
// browser of this decade. Others have the API.
func fromBrowser(r *http.Request) bool {
	return r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != ""
}

// refuse shows why nothing was done.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNotAllowed) || errors.Is(err, errNoPage) {
		s.show(w, r, nil, err)
		return
	}
	s.write(w, r, page.Refused{Why: err.Error()}, http.StatusBadRequest)
}

// actRequest is what a form, or the address of its page, asks for.
func actRequest(r *http.Request) (api.ActionRequest, error) {
	q := api.ActionRequest{
		Certificate: r.FormValue("certificate"), Action: certmedic.ActionKind(r.FormValue("action")), To: certmedic.Fingerprint(r.FormValue("to")),
	}
	for _, kind := range certmedic.ActionKinds() {
		if q.Action == kind && q.Certificate != "" {
			return q, nil
		}
	}
	return q, fmt.Errorf("%w: nothing is called %q of %q", errNoPage, q.Action, q.Certificate)
}

// actPage shows what an action would do, and asks once. It needs the same login as the action,
// because it shows commands.
func (s *Server) actPage(r *http.Request) (page.Content, error) {
	if !s.trusted(r) {
		return nil, errNotAllowed
	}
	q, err := actRequest(r)
	if err != nil {
		return nil, err
	}
	q.DryRun = true
	answer, err := s.o.Backend.Act(r.Context(), q)
	if err != nil {
		return nil, err
	}
	c := page.Act{Certificate: q.Certificate, Action: q.Action, To: q.To, Reason: answer.Reason, Detail: answer.Detail, Changed: r.Form.Has("changed")}
	if answer.Plan != nil {
		c.Plan = *answer.Plan
	}
	return c, nil
}

// actDeed carries an action out, if it would do what its page showed.
func (s *Server) actDeed(r *http.Request, by string) (string, error) {
	q, err := actRequest(r)
	if err != nil {
		return "", err
	}
	q.DryRun = true
	answer, err := s.o.Backend.Act(r.Context(), q)
	if err != nil {
		return "", err
	}
	if answer.Plan == nil || answer.Plan.Hash != r.PostFormValue("hash") {
		again := url.Values{"certificate": {q.Certificate}, "action": {string(q.Action)}, "changed": {"1"}}
		if q.To != "" {
			again.Set("to", string(q.To))
		}
		return "/act?" + again.Encode(), nil
	}
	q.DryRun, q.By, q.Plan = false, by, answer.Plan.Hash
	ctx, cancel := context.WithTimeout(r.Context(), actPatience)
	defer cancel()
	answer, ended, err := s.o.Backend.Begin(ctx, q)
	switch {
	case err != nil:
		return "", err
	case ended && answer.Action != nil:
		return "/actions/" + url.PathEscape(answer.Action.ID), nil
	}
	return "/certificates/" + url.PathEscape(q.Certificate), nil
}

// planDeed takes a person's word about a plan.
func (s *Server) planDeed(r *http.Request, by string) (string, error) {
	q := api.WordRequest{ID: r.PostFormValue("id"), Reason: r.PostFormValue("reason"), By: by}
	switch word := r.PostFormValue("word"); word {
	case "approve":
		q.Approve = true
	case "reject":
	default:
		return "", fmt.Errorf("%q is neither approve nor reject", word)
	}
	said, err := s.o.Approvals.Say(r.Context(), q)
	return "/certificates/" + url.PathEscape(said.Certificate), err
}

// silenceDeed keeps quiet about a certificate for a while.
func (s *Server) silenceDeed(r *http.Request, by string) (string, error) {
	name := r.PostFormValue("certificate")
	length, err := time.ParseDuration(r.PostFormValue("for"))
	switch {
	case err != nil || length <= 0 || length > 31*24*time.Hour:
		return "", fmt.Errorf("a silence cannot last %q", r.PostFormValue("for"))
	case name == "":
		return "", errors.New("a silence needs a certificate that it is about")
	}
	_, err = s.o.Silences.AddSilence(r.Context(), api.SilenceRequest{
		Matchers: []string{"certificate=" + strconv.Quote(name)}, Until: time.Now().Add(length), UntilRenewed: r.PostFormValue("until_renewed") != "",
		Why: strings.TrimSpace(r.PostFormValue("why")), By: by,
	})
	return "/silences", err
}

func (s *Server) unsilenceDeed(r *http.Request, by string) (string, error) {
	_, err := s.o.Silences.EndSilence(r.Context(), api.EndRequest{ID: r.PostFormValue("id"), By: by})
	return "/silences", err
}

// acknowledgeDeed says that a person looks after something.
func (s *Server) acknowledgeDeed(r *http.Request, by string) (string, error) {
	about := r.PostFormValue("about")
	_, err := s.o.Acks.Acknowledge(r.Context(), api.AckRequest{About: about, Why: r.PostFormValue("why"), By: by})
	return "/incidents", err
}
