package renew_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
)

func TestPlanOfCertbot(t *testing.T) {
	t.Parallel()
	environ := []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	for _, tt := range []struct {
		about string
		way   renew.Certbot
		how   renew.How
		argv  string
		env   []string
		added []string
	}{
		{
			"as certbot's timer runs it, for one lineage",
			renew.Certbot{Lineage: "shop", ConfigDir: "/etc/letsencrypt"},
			renew.How{},
			"certbot renew --cert-name shop --config-dir /etc/letsencrypt --no-random-sleep-on-renew --non-interactive", environ, nil,
		},
		{
			"a tree elsewhere has its locks elsewhere",
			renew.Certbot{Lineage: "shop", ConfigDir: "/srv/le", WorkDir: "/srv/work", LogsDir: "/srv/logs"},
			renew.How{},
			"certbot renew --cert-name shop --config-dir /srv/le --work-dir /srv/work --logs-dir /srv/logs --no-random-sleep-on-renew --non-interactive", environ, nil,
		},
		{
			"by force it need not be due",
			renew.Certbot{Lineage: "shop", ConfigDir: "/c", Args: []string{"-v"}},
			renew.How{Force: true},
			"certbot renew --cert-name shop --config-dir /c --no-random-sleep-on-renew --non-interactive --force-renewal -v", environ, nil,
		},
		{
			"a denied key is not used again",
			renew.Certbot{Lineage: "shop", ConfigDir: "/c"},
			renew.How{Force: true, NewKey: true},
			"certbot renew --cert-name shop --config-dir /c --no-random-sleep-on-renew --non-interactive --force-renewal --new-key", environ, nil,
		},
		{
			"variables are added, and shown by name",
			renew.Certbot{Lineage: "shop", ConfigDir: "/c", Env: map[string]string{"B": "secret", "A": "x"}},
			renew.How{},
			"certbot renew --cert-name shop --config-dir /c --no-random-sleep-on-renew --non-interactive",
			append(slices.Clone(environ), "A=x", "B=secret"),
			[]string{"A", "B"},
		},
	} {
		plan, err := renew.Plan(renew.Way{Certbot: &tt.way}, environ, tt.how)
		if err != nil || len(plan.Commands) != 1 || len(plan.Files) != 0 {
			t.Errorf("%s: %+v, %v", tt.about, plan, err)
			continue
		}
		c := plan.Commands[0]
		if got := strings.Join(c.Argv, " "); got != tt.argv {
			t.Errorf("%s: runs\n%s\nwant\n%s", tt.about, got, tt.argv)
		}
		if !slices.Equal(c.Env, tt.env) || !slices.Equal(c.EnvDiff, tt.added) || c.Phase != deploy.PhaseRenew || !slices.Equal(plan.Locks, []string{deploy.LockHooks}) {
			t.Errorf("%s: %+v, locks %q", tt.about, c, plan.Locks)
		}
	}
}

func TestPlanOfACommand(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "renew")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	way := renew.Way{Command: []string{program, "shop"}}
	plan, err := renew.Plan(way, nil, renew.How{Force: true})
	if err != nil || !slices.Equal(plan.Commands[0].Argv, way.Command) {
		t.Errorf("%+v, %v: a command is run as it is", plan, err)
	}
	other, err := renew.Plan(renew.Way{Command: []string{program, "mail"}}, nil, renew.How{Force: true})
	if err != nil || other.Basis == plan.Basis {
		t.Errorf("another command has the same basis %s, %v", other.Basis, err)
	}
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := renew.Plan(way, nil, renew.How{}); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("a program that others may write: %v", err)
	}
	if _, err := renew.Plan(renew.Way{}, nil, renew.How{}); !errors.Is(err, renew.ErrNoWay) {
		t.Errorf("without a way: %v", err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	failed := func(stdout, stderr string) certmedic.Run {
		return certmedic.Run{Result: certmedic.RunExited, ExitCode: 1, Stdout: stdout, Stderr: stderr}
	}
	const paused = "An unexpected error occurred:\nError creating new order :: too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-25 10:11:12 UTC: see https://letsencrypt.org\n"
	for _, tt := range []struct {
		about string
		run   certmedic.Run
		want  renew.Explanation
	}{
		{"certbot says nothing", certmedic.Run{Result: certmedic.RunExited}, renew.Explanation{}},
		{"certbot 2 finds it too early", certmedic.Run{Result: certmedic.RunExited, Stdout: "Processing /etc/x\nCertificate not yet due for renewal\n"}, renew.Explanation{Reason: renew.NotDue, Lines: []string{"Certificate not yet due for renewal"}}},
		{"other lineages are too early, ours failed", failed("The following certificates are not due for renewal yet:\n", "Failed to renew certificate shop with error: x\n"), renew.Explanation{
			Lines: []string{"Failed to renew certificate shop with error: x"},
		}},
		{"a challenge failed", failed("  Detail: 192.0.2.1: Connection refused\n", "Failed to renew certificate shop with error: Some challenges have failed.\n"), renew.Explanation{
			Reason: renew.ChallengeFailed, Lines: []string{"Failed to renew certificate shop with error: Some challenges have failed.", "Detail: 192.0.2.1: Connection refused"},
		}},
		{"the CA wants to be left alone", failed("", paused), renew.Explanation{
			Reason: renew.RateLimited, Lines: []string{"Error creating new order :: too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-25 10:11:12 UTC: see https://letsencrypt.org"}, Until: time.Date(2026, 11, 25, 10, 11, 12, 0, time.UTC),
		}},
		{"and does not say how long", failed("", "too many new orders\n"), renew.Explanation{Reason: renew.RateLimited, Lines: []string{"too many new orders"}}},
		{"or says something else", failed("", "too many new orders, retry after lunch"), renew.Explanation{Reason: renew.RateLimited, Lines: []string{"too many new orders, retry after lunch"}}},
		{"another certbot holds the locks", failed("", "Another instance of Certbot is already running.\n"), renew.Explanation{Lines: []string{"Another instance of Certbot is already running."}}},
	} {
		got := renew.Explain(tt.run)
		if got.Reason != tt.want.Reason || !slices.Equal(got.Lines, tt.want.Lines) || !got.Until.Equal(tt.want.Until) {
			t.Errorf("%s: %+v, want %+v", tt.about, got, tt.want)
		}
	}
	long := renew.Explain(failed("", "Failed to renew certificate "+strings.Repeat("ä", 1000)))
	if line := long.Lines[0]; len(line) > 510 || !strings.HasSuffix(line, "ä ...") {
		t.Errorf("a long line becomes %d bytes: %q", len(line), line)
	}
}
