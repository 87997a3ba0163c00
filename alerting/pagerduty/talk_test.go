package pagerduty_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

const (
	receiver     = "oncall"
	conversation = "certmedic/shop/e1"
	second       = conversation + "/escalated"
)

// world is an Alerter with PagerDuty as its receiver, in a bubble of virtual time. It can be killed
// and started again with what its outbox held at that time.
type world struct {
	*alerting.Alerter
	t      *testing.T
	fake   *pdfake.Service
	limits *pagerduty.Limits
	outbox *alertingtest.MemoryOutbox
	open   map[string]alerting.Event // what fires, by incident
	early  []alerting.Event          // told before the Alerter runs
	stop   func()
}

func newWorld(t *testing.T, o pdfake.Options) *world {
	w := &world{
		t: t, fake: pdfake.New(o), limits: pagerduty.NewLimits(), outbox: &alertingtest.MemoryOutbox{}, open: map[string]alerting.Event{},
	}
	w.start()
	return w
}

func (w *world) start() {
	opts := alerting.Options{
		Receivers: map[string]alerting.Notifier{receiver: newNotifier(w.t, pagerduty.Config{Limits: w.limits}, w.fake.Client())},
		Outbox:    w.outbox, GroupWait: time.Second,
	}
	for _, e := range w.open {
		opts.Open = append(opts.Open, e)
	}
	a, err := alerting.New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Alerter = a
	for _, e := range w.early {
		a.Tell(e)
	}
	w.early = nil
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
	synctest.Wait()
}

// kill starts again with what was kept at this moment; what the old one keeps later is lost.
func (w *world) kill() {
	kept := &alertingtest.MemoryOutbox{}
	entries, err := w.outbox.Pending()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if err := kept.Put(e); err != nil {
			w.t.Fatal(err)
		}
	}
	told, err := w.outbox.Deliveries()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range told {
		if err := kept.Settle(d, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	w.stop()
	w.outbox = kept
	w.start()
}

func (w *world) fire(id string, severity certmedic.Severity) {
	e := alerting.Event{Kind: alerting.KindFiring, Time: time.Now(), Incident: alertingtest.Incident(id, "rule-"+id, severity)}
	e.Step = certmedic.Step{Do: certmedic.StepNotify}
	e.Certificate = alerting.Facts{Name: "shop", NotAfter: time.Now().Add(time.Hour)}
	w.tell(e)
}

// expire tells that the certificate has expired.
func (w *world) expire(id string) {
	e := alerting.Event{Kind: alerting.KindFiring, Time: time.Now(), Incident: alertingtest.Incident(id, "expired", certmedic.SeverityCritical)}
	e.Step = certmedic.Step{Do: certmedic.StepNotify}
	e.Certificate = alerting.Facts{Name: "shop", NotAfter: time.Now()}
	w.tell(e)
}

func (w *world) tell(e alerting.Event) {
	w.open[e.Incident.ID] = e
	w.Tell(e)
}

func (w *world) resolve(id string) { w.Tell(w.over(id)) }

// over returns the event that ends an incident.
func (w *world) over(id string) alerting.Event {
	e := w.open[id]
	e.Kind, e.Time, e.Step = alerting.KindResolved, time.Now(), certmedic.Step{}
	delete(w.open, id)
	return e
}

func (w *world) ack(via string) {
	w.Acknowledge(conversation, alerting.Ack{By: "ann", Via: via, At: time.Now()})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// do is one word of a story.
func (w *world) do(word string) {
	what, id, _ := strings.Cut(word, " ")
	switch what {
	case "warn":
		w.fire(id, certmedic.SeverityWarning)
	case "crit":
		w.fire(id, certmedic.SeverityCritical)
	case "expire":
		w.expire(id)
	case "end":
		w.resolve(id)
	case "ack":
		w.ack(id)
	case "late-ack": // it was said before the last word
		w.Acknowledge(conversation, alerting.Ack{By: "ann", Via: id, At: time.Now().Add(-45 * time.Second)})
	case "pdack":
		if err := w.fake.Acknowledge(conversation, "ann"); err != nil {
			w.t.Error(err)
		}
		w.ack(receiver)
	case "kill":
		w.kill()
	case "kill-end":
		w.early = append(w.early, w.over(id))
		w.kill()
	case "at-once":
	case "2s":
		pass(2 * time.Second)
	default:
		w.t.Fatalf("no word %q", word)
	}
}

// actions returns what was applied to the incidents of a key: T for trigger, A for acknowledge, R
// for resolve, with a blank between incidents.
func actions(fake *pdfake.Service, key string) string {
	var all []string
	for _, i := range fake.Of(key) {
		said := ""
		for _, e := range i.Events {
			said += strings.ToUpper(e.Action[:1])
		}
		all = append(all, said)
	}
	return strings.Join(all, " ")
}

func TestAConversationIsOnePage(t *testing.T) {
	tests := []struct {
		name          string
		story         string // words separated by commas; half a minute passes after each, unless a pause follows
		first, second string // what was applied to both alerts
		dropped       int
	}{
		{"an incident and its end", "warn a, end a", "TR", "", 0},
		{"what happens together is one trigger", "warn a, at-once, crit b, at-once, warn c", "T", "", 0},
		{"further incidents update the alert", "warn a, warn b, crit c", "TTT", "", 0},
		{"an unchanged incident is not sent again", "warn a, warn a, warn a", "T", "", 0},
		{"the end of one of several is an update", "warn a, warn b, end a, end b", "TTTR", "", 0},
		{"it gets worse and nobody has acknowledged: the same alert", "warn a, crit a", "TT", "", 0},
		{"an acknowledgement from elsewhere is passed on", "warn a, ack slack, end a", "TAR", "", 0},
		{"one from PagerDuty is not", "warn a, pdack, end a", "TR", "", 0},
		{"an update after an acknowledgement is silent", "warn a, pdack, warn b", "TT", "", 0},
		{"worse after an acknowledgement: a second alert, ended with the first", "warn a, pdack, crit a, end a", "TR", "TR", 0},
		{"the same with an acknowledgement from elsewhere", "warn a, ack slack, crit b, end a, end b", "TAR", "TTR", 0},
		{"expired after an acknowledgement is worse, though as critical as before", "crit a, ack slack, expire b, end a, end b", "TAR", "TTR", 0},
		{"expired before the acknowledgement is known", "crit a, expire b, ack slack, expire c", "TTAT", "", 0},
		{"there is no third alert", "warn a, ack slack, crit a, ack slack, expire b, warn c", "TAA", "TATT", 0},
		{"critical before, better, acknowledged, critical again: they knew", "crit a, warn a, ack slack, crit a", "TTAT", "", 0},
		{"worse and acknowledged at once: they know it", "warn a, crit a, at-once, ack slack", "TTA", "", 0},
		{"worse before the acknowledgement came here: who gave it did not know", "warn a, crit a, late-ack slack, end a", "TTAR", "TR", 0},
		{"the same where it expired", "crit a, expire b, late-ack slack, kill, end a, end b", "TTAR", "TTR", 0},
		{"what ends before it was told is not told", "warn a, at-once, end a", "", "", 0},
		{"a second life is a second page", "warn a, end a, warn a, end a", "TR TR", "", 0},
		{"a second life begins without an acknowledgement", "warn a, ack slack, end a, warn a, crit a", "TAR TT", "", 0},
		{"a restart sends nothing again", "warn a, kill, kill, end a", "TR", "", 0},
		{"a restart keeps who has acknowledged", "warn a, pdack, kill, crit a, kill, end a", "TR", "TR", 0},
		{"a restart keeps what was escalated", "warn a, ack slack, crit a, kill, crit b, end a, end b", "TAR", "TTTR", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pdfake.Options{})
				defer func() { w.stop() }()
				w.tells(tt.story)
				first, other := actions(w.fake, conversation), actions(w.fake, second)
				if first != tt.first || other != tt.second || w.fake.Counts().Dropped != tt.dropped {
					t.Errorf("applied %q and %q, %d dropped; want %q, %q, %d", first, other, w.fake.Counts().Dropped, tt.first, tt.second, tt.dropped)
				}
				if refused := w.fake.Refusals(); len(refused) > 0 {
					t.Errorf("refused: %q", refused)
				}
				if len(w.open) == 0 && len(w.fake.Open()) > 0 {
					t.Errorf("still open: %+v", w.fake.Open())
				}
			})
		})
	}
}

func (w *world) tells(story string) {
	words := append(strings.Split(story, ", "), "")
	isPause := func(word string) bool { return word == "at-once" || word == "2s" }
	for i, word := range words[:len(words)-1] {
		w.do(word)
		if !isPause(word) && !isPause(words[i+1]) {
			pass(30 * time.Second)
		}
	}
}

func TestWhatGoesWrongMakesNoSecondPage(t *testing.T) {
	lost, busy := pdfake.Fault{Lost: true}, pdfake.Fault{Status: http.StatusServiceUnavailable}
	const story = "warn a, ack slack, crit a, end a"
	tests := []struct {
		name          string
		faults        map[int]pdfake.Fault // by call
		story         string
		first, second string
		dropped       int
	}{
		{"the answer to the first trigger is lost", map[int]pdfake.Fault{1: lost}, story, "TTAR", "TR", 0},
		{"it is lost twice, and a kill comes between", map[int]pdfake.Fault{1: lost, 2: lost}, "warn a, at-once, kill, end a", "TTTR", "", 0},
		{"the acknowledgement is lost", map[int]pdfake.Fault{2: lost}, story, "TAAR", "TR", 0},
		{"the second trigger is lost", map[int]pdfake.Fault{3: lost}, story, "TAR", "TTR", 0},
		{"the second trigger does not come through before the end", map[int]pdfake.Fault{3: busy, 4: busy, 5: busy, 6: busy, 7: busy}, "warn a, ack slack, crit a, at-once, end a", "TAR", "", 0},
		{"killed while the second trigger is under way, and it ends before the start", map[int]pdfake.Fault{3: {Delay: 4 * time.Second, Lost: true}}, "warn a, ack slack, crit a, 2s, kill-end a", "TAR", "TR", 0},
		{"what was sent before a failure is not sent again", map[int]pdfake.Fault{3: busy}, "warn a, crit a, at-once, ack slack, end a", "TTAR", "", 0},
		{"the first resolution is lost", map[int]pdfake.Fault{4: lost}, story, "TAR", "TR", 1},
		{"the second resolution is lost", map[int]pdfake.Fault{5: lost}, story, "TAR", "TR", 1},
		{"PagerDuty is away for a while", map[int]pdfake.Fault{1: busy, 2: busy, 3: busy, 4: busy}, story, "TAR", "TR", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pdfake.Options{Fault: func(call int) pdfake.Fault { return tt.faults[call] }})
				defer func() { w.stop() }()
				w.tells(tt.story)
				pass(time.Hour)
				first, other := actions(w.fake, conversation), actions(w.fake, second)
				if first != tt.first || other != tt.second || w.fake.Counts().Dropped != tt.dropped || len(w.fake.Open()) > 0 {
					t.Errorf("applied %q and %q, %d dropped, open %+v; want %q, %q, %d", first, other, w.fake.Counts().Dropped, w.fake.Open(), tt.first, tt.second, tt.dropped)
				}
			})
		})
	}
}

// TestStorm lets everything happen in any order, with calls that fail in every way and kills, and
// counts pages: one for the first alert, at most one for the second, and nothing open at the end.
func TestStorm(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func storm(t *testing.T, random *rand.Rand) {
	faults := []pdfake.Fault{
		{},
		{},
		{},
		{Lost: true},
		{Status: http.StatusBadGateway},
		{Delay: 3 * time.Second},
		{Delay: time.Minute},
		{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}},
	}
	odds := make([]int, 10_000)
	for i := range odds {
		odds[i] = random.IntN(len(faults))
	}
	var calm atomic.Bool
	w := newWorld(t, pdfake.Options{Fault: func(call int) pdfake.Fault {
		if calm.Load() {
			return pdfake.Fault{}
		}
		return faults[odds[call%len(odds)]]
	}})
	defer func() { w.stop() }()
	words := []string{"warn a", "warn b", "crit b", "crit c", "expire d", "ack slack", "kill"}
	w.do("warn a") // fires until the end, so that all of it is one life
	for range 60 {
		word := words[random.IntN(len(words))]
		if id := []string{"b", "c", "d"}[random.IntN(3)]; random.IntN(4) == 0 && w.open[id].Incident.ID != "" {
			word = "end " + id
		}
		w.do(word)
		pass(time.Duration(random.Int64N(int64(4 * time.Second))))
	}
	calm.Store(true)
	for id := range w.open {
		w.resolve(id)
	}
	pass(2 * time.Hour)
	if first, other := w.fake.Of(conversation), w.fake.Of(second); len(first) != 1 || len(other) > 1 || len(w.fake.Open()) > 0 {
		t.Errorf("%d and %d incidents, open %+v", len(first), len(other), w.fake.Open())
	}
	if a, b := w.fake.Pages(conversation), w.fake.Pages(second); a != 1 || b > 1 {
		t.Errorf("%d and %d pages", a, b)
	}
	if refused := w.fake.Refusals(); len(refused) > 0 {
		t.Errorf("refused: %q", refused)
	}
}
