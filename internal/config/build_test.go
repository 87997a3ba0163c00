package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("whole.yml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := []certmedic.Certificate{
		{
			Name:   "shop",
			Labels: map[string]string{"team": "payments", "tier": "1"},
			Source: certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: "/etc/letsencrypt", Lineage: "shop.example.com"},
			Endpoints: []certmedic.Endpoint{
				{Address: "shop.example.com:443", Protocol: "tls"},
				{Address: "mail.example.com:465", Protocol: "smtps"},
				{
					Address: "10.0.0.7:8443", Protocol: "tls", ServerName: "shop.example.com", Owned: true,
					Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
				},
			},
			Destinations: []certmedic.Destination{
				{
					Name: "web",
					Files: []certmedic.InstalledFile{
						{From: certmedic.PartFullchain, To: "/etc/ssl/shop/fullchain.pem"},
						{From: certmedic.PartPrivkey, To: "/etc/ssl/shop/key.pem", Mode: "0640", Owner: "root:ssl-cert"},
					},
					Test:   []string{"nginx", "-t"},
					Reload: []string{"systemctl", "reload", "nginx"},
					Alive:  []string{"systemctl", "is-active", "--quiet", "nginx"},

					AliveFor: 2 * time.Second,
				},
				{Name: "destination-2", Reload: []string{"/bin/true"}},
			},
			Mode:  certmedic.ModeAuto,
			Allow: []certmedic.ActionKind{certmedic.ActionRedeploy, certmedic.ActionRollback, certmedic.ActionRenew},
		},
		{
			Name:   "plain",
			Source: certmedic.Source{Kind: certmedic.SourceFiles, Cert: "/etc/ssl/plain.pem", Key: "/etc/ssl/plain.key", Chain: "/etc/ssl/chain.pem"},
			Mode:   certmedic.ModeApprove,
		},
		{
			Name:      "api.partner.com:443",
			Endpoints: []certmedic.Endpoint{{Address: "api.partner.com:443", Protocol: "tls"}},
			Mode:      certmedic.ModeObserve,
			Watched:   true,
		},
		{
			Name:      "api.partner.com:443/other.partner.com",
			Endpoints: []certmedic.Endpoint{{Address: "api.partner.com:443", Protocol: "tls", ServerName: "other.partner.com"}},
			Mode:      certmedic.ModeObserve,
			Watched:   true,
		},
	}
	got := config.Certificates(c)
	if len(got) != len(want) {
		t.Fatalf("got %d certificates, want %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("certificate %d:\n%+v\nwant:\n%+v", i, got[i], want[i])
		}
	}
	if files := c.WatchFiles(); len(files) != 1 || files[0].File != "/etc/ssl/ca/*.pem" {
		t.Errorf("watched files: %+v", files)
	}
}

func TestEffectiveMode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       certmedic.Mode
	}{
		{"nothing said is observe", "certificates: [{name: a, source: {files: {cert: /a}}}]", certmedic.ModeObserve},
		{"the ceiling alone lets nothing through", "remediation: {mode: auto}\ncertificates: [{name: a, source: {files: {cert: /a}}}]", certmedic.ModeObserve},
		{"the certificate alone lets nothing through", "certificates: [{name: a, source: {files: {cert: /a}}, remediation: {mode: auto}}]", certmedic.ModeObserve},
		{"the lower of the two holds", "remediation: {mode: plan}\ncertificates: [{name: a, source: {files: {cert: /a}}, remediation: {mode: auto}}]", certmedic.ModePlan},
		{"both together let it through", "remediation: {mode: auto}\ncertificates: [{name: a, source: {files: {cert: /a}}, remediation: {mode: auto}}]", certmedic.ModeAuto},
	} {
		c, _, err := config.Parse("x", []byte(tc.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Certificates(c)[0]; got.Mode != tc.want || len(got.Allow) != 0 {
			t.Errorf("%s: %q with %q, want %q with nothing", tc.name, got.Mode, got.Allow, tc.want)
		}
	}
}

func TestInitWritesAConfigurationThatLoads(t *testing.T) {
	t.Parallel()
	odd := certmedic.Source{Kind: certmedic.SourceFiles, Cert: "/etc/ssl/a \"b\"\t#: c.pem", Key: "/k", Chain: "/c"}
	lineage := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: "/srv/le", Lineage: "shop.example.com"}
	endpoint := certmedic.Endpoint{Address: "127.0.0.1:443", Protocol: "https", ServerName: "shop.example.com"}
	for _, tc := range []struct {
		name  string
		host  []certmedic.Certificate
		names []string
	}{
		{"an empty host", nil, nil},
		{"a lineage that is served", []certmedic.Certificate{{Name: "shop", Source: lineage, Endpoints: []certmedic.Endpoint{endpoint}}}, []string{"shop"}},
		{"a lineage that nobody serves", []certmedic.Certificate{{Name: "shop", Source: lineage}}, []string{"shop"}},
		{"an endpoint of others' beside it", []certmedic.Certificate{
			{Name: "shop", Source: lineage}, {Name: "127.0.0.1:25", Endpoints: []certmedic.Endpoint{{Address: "127.0.0.1:25", Protocol: "smtp"}}},
		}, []string{"shop", "127.0.0.1:25"}},
		{
			"names that are no names, or taken",
			[]certmedic.Certificate{{Name: "ä b", Source: odd}, {Name: "--b", Source: odd}, {Name: "", Source: odd}, {Name: "ü b", Source: odd}},
			[]string{"--b", "--b-2", "certificate", "--b-3"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, home(t)+"/certmedic.yml", string(config.Init(tc.host, []string{"nginx", "haproxy"})))
			c, warnings, err := config.Load(path)
			if err != nil || len(warnings) != 0 {
				text, _ := os.ReadFile(filepath.Clean(path))
				t.Fatalf("%v %v\n%s", warnings, err, text)
			}
			got := config.Certificates(c)
			if len(got) != len(tc.names) {
				t.Fatalf("got %d certificates, want %d", len(got), len(tc.names))
			}
			for i, name := range tc.names {
				if got[i].Name != name || got[i].Mode != certmedic.ModeObserve || len(got[i].Allow) > 0 {
					t.Errorf("got %+v, want %q, observed", got[i], name)
				}
				if got[i].Source != tc.host[i].Source || !reflect.DeepEqual(got[i].Endpoints, tc.host[i].Endpoints) {
					t.Errorf("got %+v, want what was found: %+v", got[i], tc.host[i])
				}
			}
		})
	}
}

func TestAnEndpointSpeaksAsItsModuleDoes(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("x", []byte(`
modules:
  mail: {protocol: smtp}
  web: {prober: http}
watch:
  - {address: mail.example.com, module: mail}
  - {address: www.example.com, module: web}
  - {address: "mail.example.com:465", module: mail, protocol: smtps}
  - {address: plain.example.com}
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []certmedic.Endpoint{
		{Address: "mail.example.com:25", Protocol: "smtp", Module: "mail"},
		{Address: "www.example.com:443", Protocol: "https", Module: "web"},
		{Address: "mail.example.com:465", Protocol: "smtps", Module: "mail"},
		{Address: "plain.example.com:443", Protocol: "tls"},
	} {
		if got := config.Certificates(c)[i]; !reflect.DeepEqual(got.Endpoints, []certmedic.Endpoint{want}) || got.Name != want.Address {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
