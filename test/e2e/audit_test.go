package e2e_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
)

// audited returns what an audit of the host says.
func (w *world) audited() audit.Result {
	w.t.Helper()
	out := w.must(w.tools + "/certmedic audit --json || test $? -lt 3")
	var r audit.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.fatalf("certmedic audit says %v\n%s", err, out)
	}
	return r
}

// TestAudit looks at a host with Debian's certbot, its timer and nginx before and after what goes
// wrong on hosts was done to it.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.must(`cat >/etc/nginx/conf.d/shop.conf <<END
server {
	listen 443 ssl;
	server_name ` + domain + `;
	ssl_certificate ` + live + `/fullchain.pem;
	ssl_certificate_key ` + live + `/privkey.pem;
	ssl_protocols TLSv1.2 TLSv1.3;
}
END
printf '%s\n' '#!/bin/sh' 'set -e' 'nginx -t -q' 'systemctl reload nginx' >` + hookFile + `
chmod 755 ` + hookFile + `
systemctl reload nginx
systemctl enable --now certbot.timer`)
	w.renew()
	before := w.must("find /etc/letsencrypt | sort; cat /etc/letsencrypt/renewal/*")
	r := w.audited()
	for _, f := range r.Findings {
		if f.Severity != certmedic.SeverityInfo && f.Code != "clock-unsynchronised" { // which is the machine's, not the host's
			t.Errorf("all is right, and the audit says: %+v", f)
		}
	}
	for _, code := range []string{"installed", "deploy-hook", "scheduled"} {
		i := slices.IndexFunc(r.Checklist, func(item audit.Item) bool { return item.Code == code })
		if r.Checklist[i].State != audit.Done {
			t.Errorf("%s: %+v", code, r.Checklist[i])
		}
	}
	if after := w.must("find /etc/letsencrypt | sort; cat /etc/letsencrypt/renewal/*"); after != before {
		t.Errorf("the audit changed the tree:\n%s\n%s", before, after)
	}

	w.must(`chmod 644 ` + hookFile + `
systemctl stop certbot.timer
mkdir /etc/systemd/system/certbot.service.d
printf '%s\n' '[Service]' ExecStart= 'ExecStart=/usr/bin/certbot -q renew --force-renewal' >/etc/systemd/system/certbot.service.d/force.conf
chmod 755 /etc/letsencrypt/live /etc/letsencrypt/archive && chmod 644 ` + live + `/privkey.pem
sed -i 's/TLSv1.2/TLSv1.1 TLSv1.2/' /etc/nginx/conf.d/shop.conf
sed -i 's/^account = .*/account = 00000000000000000000000000000000/; s/^authenticator = .*/authenticator = dns-cloudflare/' ` + conf)
	r = w.audited()
	for _, code := range []string{"hook-skipped", "timer-stopped", "job-forces", "key-readable", "old-protocol", "account-missing", "plugin-missing", "no-reload"} {
		if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Code == code }) {
			t.Errorf("the audit does not say %s", code)
		}
	}
	if r.Status != certmedic.StatusCritical {
		t.Errorf("the status is %s", r.Status)
	}
}
