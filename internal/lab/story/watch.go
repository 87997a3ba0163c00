package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/port"
)

// maxAnswer bounds what is read from certmedic, in bytes.
const maxAnswer = 4 << 20

// startCertmedic writes its configuration, starts it and waits until it is ready.
func (s *stage) startCertmedic(ctx context.Context) error {
	config, err := s.configure(ctx)
	if err != nil {
		return err
	}
	webPort, err := port.Free(ctx, s.o.WebPort)
	if err != nil {
		return err
	}
	listen := net.JoinHostPort("127.0.0.1", fmt.Sprint(webPort))
	s.web = "http://" + listen
	s.certmedic, err = spawn("certmedic", s.folder.at("logs", "certmedic.log"),
		s.o.Certmedic, "--config", config, "serve", "--log.syslog=false", "--web.listen-address", listen)
	if err != nil {
		return err
	}
	err = s.certmedic.await(ctx, startTimeout, func() error {
		_, err := s.get(ctx, "/-/ready")
		return err
	})
	if err != nil {
		return err
	}
	s.teller.say(fine, "watching", "certmedic at %s/ and %s/metrics (pid %d)", s.web, s.web, s.certmedic.process.Pid)
	return nil
}

// configure writes certmedic's configuration, with a receiver that listens already, and
// returns its path.
func (s *stage) configure(ctx context.Context) (string, error) {
	if err := s.folder.mkdir("state", 0o700); err != nil {
		return "", err
	}
	webhook, err := s.listenForAlerts(ctx)
	if err != nil {
		return "", err
	}
	_, nodePort, err := net.SplitHostPort(s.endpoint)
	if err != nil {
		return "", err
	}
	text := configuration(scene{
		stateDir: s.folder.at("state"), configDir: s.tree.ConfigDir, rootFile: s.folder.at("root.pem"),
		resolver: s.dns.Addr(), endpoint: net.JoinHostPort(Name, nodePort), webhook: webhook,
	})
	return s.folder.write("certmedic.yml", []byte(text), 0o644)
}

// bind waits until certmedic has seen the stored version served: from then on it knows
// that the endpoint belongs to the certificate.
func (s *stage) bind(ctx context.Context) error {
	return s.certmedic.await(ctx, bindTimeout, func() error {
		metrics, err := s.get(ctx, "/metrics")
		if err != nil {
			return err
		}
		if !served(metrics) {
			return errors.New("it has not yet seen the stored version served")
		}
		return nil
	})
}

// served reports whether a page of metrics says that the stored version is served.
func served(metrics []byte) bool {
	for line := range bytes.Lines(metrics) {
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), "} ")
		if found && value == "1" && strings.HasPrefix(name, "certmedic_served_matches_stored{") &&
			strings.Contains(name, `certificate="`+certificate+`"`) {
			return true
		}
	}
	return false
}

// round is one renewal that certmedic shall heal.
type round struct {
	began   time.Time
	version certmedic.Fingerprint

	// What was seen, and told, so far.
	noticed, acting, served, healed bool
	outcome                         certmedic.Outcome // of the last action that has ended
}

// watch tells what certmedic does until the new version is served and certmedic says
// that it is healed, and returns when that was.
func (s *stage) watch(ctx context.Context, r round) (time.Time, error) {
	err := s.certmedic.await(ctx, healTimeout, func() error {
		if err := s.look(ctx, &r); err != nil {
			return err
		}
		return r.missing()
	})
	return time.Now(), err
}

// missing says what has not happened yet.
func (r *round) missing() error {
	switch {
	case !r.noticed:
		return errors.New("it has not noticed that the new version is not served")
	case !r.acting:
		return errors.New("it noticed, but has not acted")
	case !r.served:
		return fmt.Errorf("it acted (%s %s), but the new version is not served", r.outcome.Kind, r.outcome.Detail)
	case !r.healed:
		return errors.New("the new version is served, but it has not proved that")
	default:
		return nil
	}
}

// look asks certmedic and the node once, and tells what is new.
func (s *stage) look(ctx context.Context, r *round) error {
	var incidents []certmedic.Incident
	if err := s.getJSON(ctx, "/api/v1/incidents", &incidents); err != nil {
		return err
	}
	for _, incident := range incidents {
		if !r.noticed && incident.Subject.Certificate == certificate && incident.FiringAt.After(r.began) {
			r.noticed = true
			s.teller.say(warn, "noticed", "%s: %s", incident.Rule, incident.Summary)
		}
	}
	var actions []certmedic.Action
	if err := s.getJSON(ctx, "/api/v1/history", &actions); err != nil {
		return err
	}
	actions = slices.DeleteFunc(actions, func(a certmedic.Action) bool {
		return a.Certificate != certificate || !a.StartedAt.After(r.began)
	})
	if len(actions) > 0 && !r.acting {
		r.acting = true
		first := actions[len(actions)-1]
		s.teller.say(fine, "acting", "%s, because of %s", first.Kind, first.By)
	}
	leaf, err := s.served(ctx)
	if err != nil {
		return err
	}
	if !r.served && leaf == r.version {
		r.served = true
		s.teller.say(fine, "served", "%s, by the story's own handshake", leaf.Short())
	}
	if len(actions) > 0 {
		s.lookAt(actions[0], r)
	}
	return nil
}

// lookAt tells how the newest action ended.
func (s *stage) lookAt(action certmedic.Action, r *round) {
	if action.Outcome.Kind != certmedic.OutcomeRunning {
		r.outcome = action.Outcome
	}
	if !r.healed && action.Outcome.Kind == certmedic.OutcomeHealed {
		r.healed = true
		s.teller.say(fine, "verified", "certmedic says %q after %s", action.Outcome.Kind, runs(action.Runs))
	}
}

// runs names the commands of an action.
func runs(runs []certmedic.Run) string {
	if len(runs) == 0 {
		return "running nothing"
	}
	names := make([]string, 0, len(runs))
	for _, run := range runs {
		names = append(names, fmt.Sprintf("%s (exit %d)", run.Name, run.ExitCode))
	}
	return strings.Join(names, ", ")
}

// listenForAlerts starts the receiver of certmedic's webhook and returns its URL.
func (s *stage) listenForAlerts(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for alerts: %w", err)
	}
	s.alerts = &http.Server{Handler: http.HandlerFunc(s.hear), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.alerts.Serve(listener) }() // ends when the stage is struck
	return "http://" + listener.Addr().String() + "/alerts", nil
}

// hear tells one alert.
func (s *stage) hear(w http.ResponseWriter, r *http.Request) {
	var alert struct {
		Event    string `json:"event"`
		Severity string `json:"severity"`
		Summary  string `json:"summary"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&alert); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.teller.say(warn, "alert", "%s (%s): %s", alert.Event, alert.Severity, alert.Summary)
	w.WriteHeader(http.StatusNoContent)
}

func (s *stage) getJSON(ctx context.Context, path string, into any) error {
	body, err := s.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// get asks certmedic for a page.
func (s *stage) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.web+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // all was read
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", path, answer.Status)
	}
	return body, nil
}
