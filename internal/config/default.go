package config

import "time"

// The paths that are taken where the configuration names none.
const (
	defaultCertbotDir  = "/etc/letsencrypt"
	defaultNginxConf   = "/etc/nginx/nginx.conf"
	defaultApacheConf  = "/etc/apache2/apache2.conf"
	defaultHAProxyConf = "/etc/haproxy/haproxy.cfg"
)

// Default returns the configuration of a host that has no configuration file: what its
// own files show is discovered and observed, and incidents go to the log.
func Default() *Config {
	c := &Config{}
	c.setDefaults()
	c.Discover = []Discover{
		{Certbot: &DiscoverCertbot{ConfigDir: defaultCertbotDir}},
		{Nginx: &DiscoverServer{}},
		{Apache: &DiscoverServer{}},
		{HAProxy: &DiscoverServer{}},
		{Postfix: &DiscoverServer{}},
		{Dovecot: &DiscoverServer{}},
	}
	c.fillAlerting()
	return c
}

// defaulter is a mapping that has defaults. The decoder sets them before it reads the
// keys that are there, so that an absent key and a zero value stay different things.
type defaulter interface{ setDefaults() }

func (c *Config) setDefaults() {
	c.StateDir = "/var/lib/certmedic"
	c.Remediation.setDefaults()
	c.Probe.setDefaults()
	c.Rules.setDefaults()
	c.Alerting.setDefaults()
}

func (r *Remediation) setDefaults() {
	r.Mode = "observe"
	r.MaxActionsPerHour = 10
	r.MaxShare, r.ApprovalExpires = "20%", 24*time.Hour
	r.MaxConcurrent = 2
	r.CommandTimeout = 5 * time.Minute
	r.FreezeFile = "/etc/certmedic/FREEZE"
}

func (p *Probe) setDefaults() {
	p.Interval = time.Minute
	p.Timeout = 10 * time.Second
	p.Roots = []string{"system"}
	p.Concurrency = 256
	p.DeployGrace = 2 * time.Second
	p.AllowPrivate = true
	p.Revocation, p.ARI = "crl", true
	p.Records = true
}

func (m *TCPModule) setDefaults() {
	m.PreferredIPProtocol = "ip6"
	m.IPProtocolFallback = true
}

func (m *HTTPModule) setDefaults() {
	m.PreferredIPProtocol = "ip6"
	m.IPProtocolFallback = true
	m.Method = "GET"
	m.FollowRedirects = true
}

func (d *DiscoverCertbot) setDefaults() { d.ConfigDir = defaultCertbotDir }

func (d *DiscoverHTTPSD) setDefaults() { d.RefreshInterval = time.Minute }

func (d *DiscoverDNS) setDefaults() {
	d.Type = "SRV"
	d.RefreshInterval = 30 * time.Second
}

func (s *CertbotSource) setDefaults() { s.ConfigDir = defaultCertbotDir }

func (c *Certificate) setDefaults() {
	c.Rollback.setDefaults()
	c.Remediation.setDefaults()
}

func (r *CertificateRemediation) setDefaults() { r.Mode = "observe" }

func (r *Rules) setDefaults() { r.Defaults = true }

func (a *Alerting) setDefaults() { a.GroupWait = time.Second }

// fillAlerting makes sure that somebody is told: without receivers the log is one, and
// without routes everything goes to every receiver.
func (c *Config) fillAlerting() {
	a := &c.Alerting
	if len(a.Receivers) == 0 {
		a.Receivers = []Receiver{{Name: "log", Log: &Log{}}}
	}
	if len(a.Routes) > 0 {
		return
	}
	all := Route{Events: true}
	for _, r := range a.Receivers {
		all.To = append(all.To, r.Name)
	}
	a.Routes = []Route{all}
}
