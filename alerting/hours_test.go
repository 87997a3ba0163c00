package alerting_test

import (
	"errors"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/internal/window"
)

// hours are windows in UTC. Bubbles of virtual time begin on a Saturday at midnight.
func hours(t *testing.T, text string) window.Set {
	t.Helper()
	w, err := window.Parse(text + " UTC")
	if err != nil {
		t.Fatal(err)
	}
	return window.Set{w}
}

func TestHearers(t *testing.T) {
	pattern := func(text string) *regexp.Regexp {
		p, err := alerting.Pattern(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	always, never := hours(t, "00:00-24:00"), hours(t, time.Now().UTC().AddDate(0, 0, 3).Format("Mon")+" 00:00-24:00")
	match := func(label, text string) map[string]*regexp.Regexp {
		return map[string]*regexp.Regexp{label: pattern(text)}
	}
	rest := alerting.Route{To: []string{"rest"}}
	tests := []struct {
		about  string
		routes []alerting.Route
		want   []string
	}{
		{"an expression that fits", []alerting.Route{{MatchRE: match("certificate", "sh.p|mail"), To: []string{"a"}}, rest}, []string{"a"}},
		{"an expression has to fit all of the value", []alerting.Route{{MatchRE: match("certificate", "x|sho"), To: []string{"a"}}, rest}, []string{"rest"}},
		{"a label that is not there is empty", []alerting.Route{{MatchRE: match("team", ".+"), To: []string{"a"}}, rest}, []string{"rest"}},
		{"values and expressions all have to fit", []alerting.Route{{Match: map[string]string{"severity": "critical"}, MatchRE: match("certificate", ".*"), To: []string{"a"}}, rest}, []string{"rest"}},
		{"a route that goes on", []alerting.Route{{To: []string{"a"}, Continue: true}, {To: []string{"b"}}, rest}, []string{"a", "b"}},
		{"nobody is told twice", []alerting.Route{{To: []string{"a"}, Continue: true}, {To: []string{"b", "a"}}}, []string{"a", "b"}},
		{"a route within its hours", []alerting.Route{{To: []string{"a"}, Windows: always}, rest}, []string{"a"}},
		{"outside its hours a route is not there", []alerting.Route{{To: []string{"a"}, Windows: never}, rest}, []string{"rest"}},
		{"what no other route takes waits for the hours", []alerting.Route{{To: []string{"a"}, Windows: never}}, []string{"a"}},
		{"what waits for quiet hours to end goes to nobody else", []alerting.Route{{To: []string{"a"}, Mute: always}, rest}, []string{"a"}},
		{"no route", []alerting.Route{{Match: map[string]string{"rule": "x"}, To: []string{"a"}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			receivers := map[string]alerting.Notifier{"a": &alertingtest.Recorder{}, "b": &alertingtest.Recorder{}, "rest": &alertingtest.Recorder{}}
			a, err := alerting.New(alerting.Options{Receivers: receivers, Routes: tt.routes})
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Hearers(firing("a")); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// minutely has the Alerter look every minute for what need not wait any more, as the app does.
func (w *world) minutely(d time.Duration) {
	for range d / time.Minute {
		sleep(time.Minute)
		w.Unmute(time.Now())
	}
	synctest.Wait()
}

func TestQuietHoursDefer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Routes: []alerting.Route{{To: []string{"ops"}, Mute: hours(t, "00:00-08:00")}}})
		w.Tell(firing("short"))
		w.Tell(firing("long"))
		w.minutely(time.Hour)
		w.Tell(resolved("short"))
		w.minutely(6*time.Hour + 58*time.Minute)
		wantStory(t, ops, "")
		w.minutely(5 * time.Minute)
		wantStory(t, ops, "firing: firing long")
		w.Tell(resolved("long"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing long; resolved: resolved long")
		w.wantOutbox(0)
		w.stop()
	})
}

func TestByDayAndByNight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day, night := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"day": day, "night": night},
			Routes: []alerting.Route{
				{To: []string{"day"}, Windows: hours(t, "08:00-18:00")},
				{To: []string{"night"}, Match: map[string]string{"severity": "critical"}},
			},
		})
		w.Tell(event(alerting.KindFiring, "bad", certmedic.SeverityCritical))
		w.Tell(firing("less")) // no route of the night takes it
		w.minutely(7 * time.Hour)
		wantStory(t, day, "")
		w.minutely(2 * time.Hour)
		w.Tell(resolved("bad"))
		w.Tell(resolved("less"))
		sleep(time.Minute)
		wantStory(t, night, "firing: firing bad; resolved: resolved bad")
		wantStory(t, day, "firing: firing less; resolved: resolved less") // it never heard of the other
		w.stop()
	})
}

func TestAnEscalationReachesAnotherRouteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		oncall, ops := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		opts := alerting.Options{
			Receivers: map[string]alerting.Notifier{"oncall": oncall, "ops": ops},
			Routes:    []alerting.Route{{Match: map[string]string{"severity": "critical"}, To: []string{"oncall"}, Continue: true}, {To: []string{"ops"}}},
		}
		first := start(t, opts)
		first.Tell(firing("a"))
		sleep(10 * time.Minute)
		rung := event(alerting.KindUpdate, "a", certmedic.SeverityCritical)
		rung.Step = certmedic.Step{Do: certmedic.StepNotify, After: 10 * time.Minute, Severity: certmedic.SeverityCritical}
		first.Tell(rung)
		sleep(time.Minute)
		first.stop()
		opts.Outbox, opts.Open = first.outbox, []alerting.Event{rung}
		w := start(t, opts) // after a restart the rung is held against what they know
		w.Tell(rung)
		sleep(time.Minute)
		wantStory(t, oncall, "firing: firing a")
		wantStory(t, ops, "firing: firing a; firing: update a")
		w.stop()
	})
}

// down rejects everything.
func down() *alertingtest.Recorder {
	return &alertingtest.Recorder{Answer: func(int) (bool, error) { return false, errors.New("no_such_key") }}
}

func TestWhereAllFailSomebodyElseIsTold(t *testing.T) {
	fleet := firing("b")
	fleet.Incident.Subject = certmedic.Subject{Kind: certmedic.AboutFleet}
	tests := []struct {
		about    string
		fallback []string
		event    alerting.Event
		want     string // what the mail is told of b and its end
	}{
		{"the fallback is told of what fires", []string{"mail"}, firing("b"), "firing: firing a; firing: firing b; firing: resolved b"},
		{"without a fallback the rest hears of certmedic's own incidents", nil, fleet, "firing: firing b; resolved: resolved b"},
		{"but of no other", nil, firing("b"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mail := &alertingtest.Recorder{}
				w := start(t, alerting.Options{
					Receivers: map[string]alerting.Notifier{"ops": down(), "mail": mail},
					Routes:    []alerting.Route{{To: []string{"ops"}}}, Fallback: tt.fallback,
				})
				w.Tell(firing("a"))
				sleep(time.Minute)
				w.Tell(tt.event)
				sleep(time.Minute)
				if n := len(mail.Delivered()); n > 0 && mail.Delivered()[n-1].Events[0].Undelivered == "" {
					t.Error("it does not say who failed")
				}
				w.Tell(resolved("b"))
				sleep(time.Minute)
				wantStory(t, mail, tt.want)
				w.stop()
			})
		})
	}
}
