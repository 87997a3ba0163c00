package protocols_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// TestRenewedMailCertificateIsDeployed has a renewed certificate in the source that nobody
// brings to postfix and dovecot. That all protocols serve it in the end is seen through
// STARTTLS, by certmedic and by OpenSSL.
func TestRenewedMailCertificateIsDeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.boot("mail")
	h.must("mkdir /etc/mail /etc/source")
	old := h.store()
	h.must(`cp /etc/source/* /etc/mail/
		postconf -e smtpd_tls_chain_files= smtpd_tls_cert_file=/etc/mail/fullchain.pem smtpd_tls_key_file=/etc/mail/privkey.pem
		sed -i 's,</etc/tls/rsa.pem,</etc/mail/fullchain.pem,; s,</etc/tls/rsa.key,</etc/mail/privkey.pem,' /etc/dovecot/dovecot.conf`)
	h.start("postfix", "dovecot")
	h.startDaemon()
	h.await("every endpoint is known to serve the stored version", func() bool { return h.serves(old) })

	renewed := h.store()
	h.await("every endpoint serves the renewed version", func() bool { return h.serves(renewed) })
	h.await("the action has ended", func() bool { return h.lastAction().Outcome.Kind != certmedic.OutcomeRunning })
	action := h.lastAction()
	if action.Kind != certmedic.ActionRedeploy || action.Outcome.Kind != certmedic.OutcomeHealed {
		t.Errorf("the action is %s, which ended %s: %s", action.Kind, action.Outcome.Kind, action.Outcome.Detail)
	}
	for _, how := range []string{"25 -starttls smtp", "465", "143 -starttls imap", "110 -starttls pop3", "24 -starttls lmtp"} {
		h.must("openssl s_client -CAfile " + rootFile + " -verify_return_error -connect mail:" + how + ` </dev/null 2>/dev/null |
			openssl x509 -outform DER | sha256sum | grep -q ` + string(fingerprint(renewed)))
	}
}

// store issues a certificate and puts it into the source.
func (h *host) store() mint.Pair {
	h.world.t.Helper()
	pair := h.issue("renewed", mint.Leaf{Names: []string{h.Name()}})
	h.must(`cd /etc/source && cp /etc/tls/renewed.pem fullchain.new && install --mode=600 /etc/tls/renewed.key privkey.new
		mv privkey.new privkey.pem && mv fullchain.new fullchain.pem`)
	return pair
}

// startDaemon starts certmedic by the unit that it ships.
func (h *host) startDaemon() {
	h.world.t.Helper()
	for from, to := range map[string]string{
		"../../docs/systemd/certmedic.service": "/etc/systemd/system/certmedic.service",
		"testdata/certmedic.yml":               "/etc/certmedic/certmedic.yml",
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			h.world.t.Fatal(err)
		}
		h.WriteFile(to, data, 0o644)
	}
	h.must("install " + h.world.tools + "/certmedic /usr/local/bin/")
	h.start("certmedic")
}

// await waits until something holds that is to happen soon.
func (h *host) await(what string, holds func() bool) {
	h.world.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := h.Sh(context.Background(), "certmedic status; journalctl --sync; journalctl --no-pager --lines 60 --output cat")
			h.world.t.Fatalf("it is not so that %s\n%s", what, log.Stdout)
		}
	}
}

// serves reports whether certmedic sees this version on every endpoint.
func (h *host) serves(pair mint.Pair) bool {
	var status api.Status
	if !h.ask("/api/v1/status", &status) || len(status.Certificates) != 1 {
		return false
	}
	for _, endpoint := range status.Certificates[0].Endpoints {
		for _, a := range endpoint.Addresses {
			if leaf, ok := a.Leaf(); !ok || leaf.SHA256 != fingerprint(pair) {
				return false
			}
		}
		if len(endpoint.Addresses) == 0 {
			return false
		}
	}
	return true
}

func (h *host) lastAction() certmedic.Action {
	running := certmedic.Action{Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning}}
	var all []certmedic.Action
	if !h.ask("/api/v1/history", &all) || len(all) == 0 {
		return running
	}
	return all[0]
}

// ask asks certmedic for a page.
func (h *host) ask(path string, into any) bool {
	client := &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Get("http://localhost:9879" + path)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK && json.NewDecoder(response.Body).Decode(into) == nil
}
