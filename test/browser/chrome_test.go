package browser_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/certmedic/certmedic/internal/testhost"
)

// axe is the accessibility checker of the same name, see axe.LICENSE.
//
//go:embed testdata/axe.min.js
var axe string

// host is a throwaway host on which certmedic and a browser run.
type host struct {
	*testhost.Host
	t     *testing.T
	tools string // the folder of the programs
}

// boot boots a host with what was built.
func boot(t *testing.T) *host {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(root, "bin")
	if _, err := os.Stat(filepath.Join(tools, "certmedic")); err != nil {
		t.Fatalf("%v: make build makes it", err)
	}
	h := testhost.New(t).Boot(testhost.Spec{Name: "desk", Layer: "browser", Binds: []string{tools}})
	return &host{h, t, tools}
}

func (h *host) must(script string) string {
	h.t.Helper()
	r, err := h.Sh(h.t.Context(), script)
	if err != nil || r.Code != 0 {
		h.t.Fatalf("%s\nexit code %d, %v\n%s%s", script, r.Code, err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// await waits until something is so.
func (h *host) await(what string, so func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if so() {
			return
		}
	}
	h.t.Fatalf("after a minute it is not so that %s\n%s", what, h.must("journalctl --no-pager -n 40 || true"))
}

// browser is a tab of a chromium on the host, and what it complained about.
type browser struct {
	ctx context.Context
	h   *host

	mu         sync.Mutex
	complaints []string
}

// devtools is the port of chromium's own protocol.
const devtools = "127.0.0.1:9222"

// browse starts chromium with an empty tab.
func (h *host) browse() *browser {
	h.t.Helper()
	h.must(`systemd-run --quiet --unit=chromium --setenv=HOME=/root chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
		--disable-background-networking --disable-component-update --remote-debugging-address=127.0.0.1 --remote-debugging-port=9222 \
		--user-data-dir=/root/chromium --force-color-profile=srgb about:blank`)
	h.await("chromium answers", func() bool {
		r, err := h.Sh(h.t.Context(), "curl --silent --fail http://"+devtools+"/json/version")
		return err == nil && r.Code == 0
	})
	remote, cancelRemote := chromedp.NewRemoteAllocator(h.t.Context(), "ws://"+h.forward(devtools))
	h.t.Cleanup(cancelRemote)
	ctx, cancel := chromedp.NewContext(remote)
	h.t.Cleanup(cancel)
	b := &browser{ctx: ctx, h: h}
	chromedp.ListenTarget(ctx, b.heard)
	b.do(runtime.Enable(), log.Enable())
	return b
}

// forward makes a port of the host reachable from the test, and returns where.
func (h *host) forward(to string) string {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := h.Dial(context.Background(), "tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
		}
	}()
	return l.Addr().String()
}

// heard takes what the browser says: errors of scripts, violations of the policy, what could not be
// loaded.
func (b *browser) heard(event any) {
	said := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning || e.Entry.Source == log.SourceSecurity {
			said = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			var words []string
			for _, a := range e.Args {
				words = append(words, string(a.Value)+a.Description)
			}
			said = "console: " + strings.Join(words, " ")
		}
	case *runtime.EventExceptionThrown:
		said = "exception: " + e.ExceptionDetails.Error()
	}
	if said == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, said)
}

// quiet fails the test if the browser complained since it was last asked.
func (b *browser) quiet(where string) {
	b.h.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.h.t.Errorf("%s: the browser says: %s", where, c)
	}
	b.complaints = nil
}

// patience bounds each thing that the browser is asked to do.
const patience = 30 * time.Second

func (b *browser) do(actions ...chromedp.Action) {
	b.h.t.Helper()
	if err := b.try(actions...); err != nil {
		b.h.t.Fatal(err)
	}
}

// The context of the first call is that of the tab's life, so it is the tab's own.
func (b *browser) try(actions ...chromedp.Action) error {
	done := make(chan error, 1)
	go func() { done <- chromedp.Run(b.ctx, actions...) }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return fmt.Errorf("the browser has not done it after %v", patience)
	}
}

// ask evaluates an expression, awaiting it where it is a promise.
func (b *browser) ask(expression string, into any) {
	b.h.t.Helper()
	b.do(chromedp.Evaluate(expression, into, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// text returns the text of the first element that a selector finds.
func (b *browser) text(selector string) string {
	b.h.t.Helper()
	var text string
	b.ask(fmt.Sprintf(`(document.querySelector(%s)?.innerText ?? "")`, quoted(selector)), &text)
	return text
}

func quoted(text string) string {
	made, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(made)
}

// violation is what axe finds.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible fails the test if axe finds something serious about the page that is shown.
func (b *browser) accessible(where string) {
	b.h.t.Helper()
	var found []violation
	b.do(chromedp.Evaluate(axe, nil))
	b.ask(`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(r => r.violations)`, &found)
	for _, v := range found {
		nodes := ""
		for _, n := range v.Nodes[:min(3, len(v.Nodes))] {
			nodes += "\n  " + n.HTML + "\n    " + strings.ReplaceAll(n.FailureSummary, "\n", "\n    ")
		}
		if v.Impact == "serious" || v.Impact == "critical" {
			b.h.t.Errorf("%s: %s (%s): %s%s", where, v.ID, v.Impact, v.Help, nodes)
			continue
		}
		b.h.t.Logf("%s: %s (%s): %s%s", where, v.ID, v.Impact, v.Help, nodes)
	}
}
