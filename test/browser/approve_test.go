package browser_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// configuration is that of a certificate in files that nginx serves, with a mode, where people log in.
const configuration = `remediation: {mode: auto}
certificates:
  - name: shop
    source: {files: {cert: /etc/shop/stored.pem, key: /etc/shop/stored.key}}
    endpoints: [{address: "shop.example.test:443", addresses: [127.0.0.1], owned: true}]
    deploy: [{name: web, files: [{from: fullchain, to: /etc/nginx/shop/fullchain.pem}, {from: privkey, to: /etc/nginx/shop/key.pem}], test: [nginx, -t], reload: [nginx, -s, reload]}]
    remediation: {mode: %s, allow: [redeploy, rollback]}
probe: {interval: 1s, roots: /etc/shop/stored.pem}
alerting: {receivers: [{name: log, log: {}}]}
`

// password is that of ada, and its bcrypt is in the web configuration.
const (
	password = "correct horse"
	bcrypted = "$2a$04$kcfyD4qluNzOUUuSlW30MO7MsgeR.fwT3nFJleMRZXCFemLCYGYCa"
)

// serve starts nginx with one version, and certmedic when a newer one is stored.
func (h *host) serve(mode string) {
	h.t.Helper()
	h.must(`install -d /etc/shop /etc/nginx/shop /etc/certmedic
		issue() {
			openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$2" -subj "/CN=shop.example.test $2" -addext subjectAltName=DNS:shop.example.test -keyout "/etc/shop/$1.key" -out "/etc/shop/$1.pem" 2>/dev/null
			chmod 0600 "/etc/shop/$1.key"
		}
		issue served 20
		install -m 0644 /etc/shop/served.pem /etc/nginx/shop/fullchain.pem
		install -m 0600 /etc/shop/served.key /etc/nginx/shop/key.pem
		cat >/etc/nginx/conf.d/shop.conf <<-'X'
			server { listen 443 ssl; server_name shop.example.test; ssl_certificate /etc/nginx/shop/fullchain.pem; ssl_certificate_key /etc/nginx/shop/key.pem; }
		X
		rm -f /etc/nginx/sites-enabled/default
		systemctl start nginx
		sleep 1.1
		issue stored 60`)
	h.WriteFile("/etc/certmedic/certmedic.yml", fmt.Appendf(nil, configuration, mode), 0o644)
	h.WriteFile("/etc/certmedic/web.yml", []byte("basic_auth_users: {ada: '"+bcrypted+"'}\n"), 0o600)
	h.must("systemd-run --quiet --unit=certmedic " + h.tools + "/certmedic serve --config /etc/certmedic/certmedic.yml --web.config.file /etc/certmedic/web.yml")
	h.await("certmedic is ready", func() bool {
		r, err := h.Sh(h.t.Context(), "curl --silent --fail --user 'ada:"+password+"' "+site+"/-/ready")
		return err == nil && r.Code == 0
	})
}

// logIn makes the browser send ada's login.
func (b *browser) logIn() {
	b.h.t.Helper()
	b.do(network.Enable(), network.SetExtraHTTPHeaders(network.Headers{
		"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+password)),
	}))
}

// TestApproved approves a plan on the page, with the keyboard alone, and sees it healed.
func TestApproved(t *testing.T) {
	h := boot(t)
	h.serve("approve")
	b := h.browse()
	b.logIn()
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(site+"/certificates/shop"))
	h.await("the page shows the plan", func() bool {
		return strings.Contains(b.text("main"), "waits for approval") && strings.Contains(b.text("main"), "nginx -s reload")
	})
	b.sound("a plan that waits")
	b.tabTo(`button[value="approve"]`)
	b.do(chromedp.KeyEvent(kb.Enter))
	h.await("the page says that it was healed", func() bool { return strings.Contains(b.text("main"), "healed") })
	b.sound("a plan that was approved")
	if who := h.must("curl --silent --user 'ada:" + password + "' " + site + "/api/v1/history"); !strings.Contains(who, `"approved_by": "ada (login)"`) {
		t.Errorf("the history does not say who approved it:\n%s", who)
	}
}

// TestRedeployedByHand asks for what would be done, and then for that.
func TestRedeployedByHand(t *testing.T) {
	h := boot(t)
	h.serve("observe")
	b := h.browse()
	b.logIn()
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(site+"/certificates/shop"))
	h.await("the page knows what is served", func() bool {
		return strings.Contains(b.text("main"), "stored, but not") || strings.Contains(b.text("main"), "another version")
	})
	b.do(chromedp.Click(`button[value="redeploy"]`, chromedp.ByQuery), chromedp.WaitVisible(`input[name="hash"] ~ button`, chromedp.ByQuery))
	if text := b.text("main"); !strings.Contains(text, "nginx -t") || !strings.Contains(text, "/etc/nginx/shop/key.pem") {
		t.Errorf("what would be done is not shown:\n%s", text)
	}
	b.sound("what would be done")
	b.do(chromedp.Click(`form.deed button.do`, chromedp.ByQuery))
	h.await("the page says that it was healed", func() bool { return strings.Contains(b.text("main"), "healed") })
	b.sound("what was done")
}

// tabTo presses the tabulator until what a selector finds has the focus.
func (b *browser) tabTo(selector string) {
	b.h.t.Helper()
	for range 80 {
		var there bool
		b.do(chromedp.KeyEvent(kb.Tab))
		b.ask(fmt.Sprintf(`document.activeElement.matches(%s)`, quoted(selector)), &there)
		if there {
			return
		}
	}
	b.h.t.Fatalf("the keyboard does not lead to %s", selector)
}
