package acmelog

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

func TestLego(t *testing.T) {
	const at = "2026/11/23 08:52:09 "
	for _, row := range []struct {
		about  string
		lines  []string
		result Result
		cause  certmedic.Cause
		failed bool // its hook
	}{
		{"it renews", []string{
			"[INFO] [shop.example.test] acme: Trying renewal with 401 hours remaining",
			"[INFO] [shop.example.test, www.shop.example.test] acme: Obtaining bundled SAN certificate",
			"[INFO] [www.shop.example.test] AuthURL: https://ca.example.test/authz/1",
			"[INFO] [shop.example.test, www.shop.example.test] acme: Validations succeeded; requesting certificates",
			"[INFO] [shop.example.test] Server responded with a certificate.",
		}, Renewed, "", false},
		{"its hook fails", []string{
			"[INFO] [shop.example.test] acme: Trying renewal with 401 hours remaining",
			"[INFO] [shop.example.test] Server responded with a certificate.",
			"wait command: exit status 3",
		}, Renewed, "", true},
		{"not due by days", []string{"[shop.example.test] The certificate expires in 60 days, the number of days defined to perform the renewal is 30: no renewal."}, NotDue, "", false},
		{"not due by the dynamic rule", []string{"[INFO] [shop.example.test] The certificate expires at 2027-01-01, the renewal can be performed in 20h: no renewal."}, NotDue, "", false},
		{"the CA cannot validate", []string{
			"[INFO] [shop.example.test] acme: Obtaining bundled SAN certificate",
			"Could not obtain certificates:",
			"\terror: one or more domains had a problem:",
			"[shop.example.test] acme: error: 403 :: urn:ietf:params:acme:error:unauthorized :: 203.0.113.5: Invalid response from http://shop.example.test/.well-known/acme-challenge/x: 404",
		}, Failed, certmedic.CauseChallenge404, false},
		{"the CA limits it", []string{
			"[INFO] [shop.example.test] acme: Trying renewal with 401 hours remaining",
			"acme: error: 429 :: POST :: https://ca.example.test/new-order :: urn:ietf:params:acme:error:rateLimited :: too many certificates (5) already issued, retry after 2026-11-24 10:00:00 UTC",
		}, Failed, certmedic.CauseRateLimited, false},
		{"it ends in the middle", []string{"[INFO] [shop.example.test] acme: Obtaining bundled SAN certificate"}, Begun, "", false},
	} {
		for _, prefix := range []string{at, "Nov 23 08:52:09 web lego[812]: " + at} {
			var b strings.Builder
			for _, line := range row.lines {
				if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "[shop.example.test] acme: error") {
					b.WriteString(prefix)
				}
				b.WriteString(line + "\n")
			}
			runs := legoRuns("lego.log", []byte(b.String()), 0)
			if len(runs) != 1 || len(runs[0].Renewals) != 1 {
				t.Fatalf("%s: %+v", row.about, runs)
			}
			n, hooks := runs[0].Renewals[0], runs[0].Hooks
			if n.Lineage != shop || n.Result != row.result || n.Cause != row.cause || (len(hooks) == 1 && hooks[0].Failed && hooks[0].ExitCode == 3) != row.failed {
				t.Errorf("%s: %+v, hooks %+v", row.about, n, hooks)
			}
			if runs[0].Finished == (row.result == Begun) || runs[0].Started.Year() != 2026 {
				t.Errorf("%s: finished %v, started %s", row.about, runs[0].Finished, runs[0].Started)
			}
		}
	}
}

func TestRunsOfLego(t *testing.T) {
	const at = "2026/11/23 08:52:09 [INFO] "
	text := at + "[a.test] acme: Obtaining bundled SAN certificate\n" + at + "[a.test] Server responded with a certificate.\n" +
		at + "[b.test] acme: Obtaining bundled SAN certificate\n" + "2026/11/23 08:52:10 Could not obtain certificates:\n\tunknown words\n" +
		at + "[a.test] acme: Trying renewal with 10 hours remaining\n"
	runs := legoRuns("lego.log", []byte(text), 10)
	if len(runs) != 3 || runs[0].Renewals[0].Result != Renewed || runs[1].Renewals[0].Result != Failed || runs[1].Renewals[0].Cause != certmedic.CauseUnknown || runs[2].First.Number != 16 {
		t.Errorf("%+v", runs)
	}
}

func TestACMESh(t *testing.T) {
	for _, row := range []struct {
		about  string
		lines  []string
		result Result
		cause  certmedic.Cause
		hook   string // ok, failed, or open
	}{
		{"it renews and reloads", []string{
			"Your cert is in: /root/.acme.sh/shop.example.test_ecc/shop.example.test.cer", "Cert success.",
			"Installing key to: /etc/ssl/shop.key", "Installing full chain to: /etc/ssl/shop.pem", "Run reload cmd: systemctl reload nginx", "Reload success",
		}, Renewed, "", "ok"},
		{"the reload fails", []string{"\x1b[1;32mCert success.\x1b[0m", "Run reload cmd: systemctl reload nginx", "Reload error for :shop.example.test"}, Renewed, "", "failed"},
		{"the reload fails, as it is told since 3.1", []string{"Cert success.", "Running reload cmd: systemctl reload nginx", "Reload error for: shop.example.test"}, Renewed, "", "failed"},
		{"the reload hangs", []string{"Cert success.", "Running reload cmd: sleep 600"}, Renewed, "", "open"},
		{"not due", []string{"Skip, Next renewal time is: 2026-12-24T02:31:32Z", "Add '--force' to force to renew.", "Skipped shop.example.test_ecc"}, NotDue, "", ""},
		{"not due, as it is told since 3.1", []string{"Skipping. Next renewal time is: 2026-12-24T02:31:32Z"}, NotDue, "", ""},
		{"the file is not there", []string{"shop.example.test:Verify error:Invalid response from http://shop.example.test/.well-known/acme-challenge/x: 404", "Please check log file for more details: /root/.acme.sh/acme.sh.log", "Error renewing shop.example.test."}, Failed, certmedic.CauseChallenge404, ""},
		{"nobody listens", []string{"Invalid status, shop.example.test:Verify error detail:203.0.113.5: Fetching http://shop.example.test/: Connection refused"}, Failed, certmedic.CauseChallengeRefused, ""},
		{"no such name", []string{"shop.example.test:Verify error:DNS problem: NXDOMAIN looking up A for shop.example.test"}, Failed, certmedic.CauseDNSFailed, ""},
		{"the CA limits it", []string{`Create new order error. Le_OrderFinalize not found. {"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}`, "Error renew shop.example.test."}, Failed, certmedic.CauseRateLimited, ""},
		{"no way to the CA", []string{"Please refer to https://curl.haxx.se/libcurl/c/libcurl-errors.html for error code: 7"}, Failed, certmedic.CauseCAUnreachable, ""},
		{"it ends in the middle", []string{"Getting webroot for domain='shop.example.test'"}, Begun, "", ""},
	} {
		var b strings.Builder
		for _, line := range append([]string{"===Starting cron===", "Renew: 'shop.example.test'", "Single domain='shop.example.test'"}, row.lines...) {
			b.WriteString("[Mon Nov 23 08:52:09 UTC 2026] " + line + "\n")
		}
		runs := acmeshRuns("acme.sh.log", []byte(b.String()), 0)
		if len(runs) != 1 || len(runs[0].Renewals) != 1 {
			t.Fatalf("%s: %+v", row.about, runs)
		}
		hook := ""
		if hooks := runs[0].Hooks; len(hooks) > 0 {
			hook = map[bool]string{true: "ok", false: "open"}[hooks[0].Ended]
			if hooks[0].Failed {
				hook = "failed"
			}
		}
		if n := runs[0].Renewals[0]; n.Lineage != shop || n.Result != row.result || n.Cause != row.cause || hook != row.hook || runs[0].Started.Year() != 2026 {
			t.Errorf("%s: %+v, hook %q, started %s", row.about, n, hook, runs[0].Started)
		}
	}
}

func TestRunsOfACMESh(t *testing.T) {
	text := ""
	for _, line := range []string{
		"===Starting cron===", "Renew: 'a.test'", "Skip, Next renewal time is: x", "Renew: 'b.test'", "Cert success.", "===End cron===",
		"Renew: 'a.test'", "Cert success.", "Renew: 'b.test'",
	} {
		text += "[lundi 20 septembre 2021, 14:00:32 (UTC+0200)] " + line + "\n"
	}
	runs := acmeshRuns("acme.sh.log", []byte(text), 0)
	if len(runs) != 3 || len(runs[0].Renewals) != 2 || !runs[0].Finished || !runs[1].Finished || runs[2].Finished || !runs[0].Started.IsZero() {
		t.Errorf("%+v", runs)
	}
}
