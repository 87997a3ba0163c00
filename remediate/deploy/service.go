package deploy

// Service is what is usual for a service of Debian: how its configuration is checked, how it
// loads its files again, and how one sees that it still runs.
type Service struct {
	Unit                string // of systemd
	Test, Reload, Alive []string
}

// ServiceNamed returns a known service: nginx, apache, haproxy, postfix or dovecot; ok is false
// for others.
func ServiceNamed(name string) (s Service, ok bool) {
	switch name {
	case "nginx":
		return unit("nginx", "nginx", "-t"), true
	case "apache":
		return unit("apache2", "apachectl", "configtest"), true
	case "haproxy":
		return unit("haproxy", "haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"), true
	case "dovecot":
		s = unit("dovecot", "doveconf", "-n")
		s.Reload = []string{"doveadm", "reload"}
		return s, true
	case "postfix": // its unit is a shell around instances, and active even where its master is gone
		return Service{
			Unit: "postfix", Test: []string{"postfix", "check"}, Reload: []string{"postfix", "reload"}, Alive: []string{"postfix", "status"},
		}, true
	}
	return Service{}, false
}

func unit(name string, test ...string) Service {
	s := Unit(name, false)
	s.Test = test
	return s
}

// Unit returns what is usual for a unit of systemd. It is reloaded; with restart it is
// restarted where it has no way to reload.
func Unit(name string, restart bool) Service {
	verb := "reload"
	if restart {
		verb = "reload-or-restart"
	}
	return Service{
		Unit:   name,
		Reload: []string{"systemctl", verb, name},
		Alive:  []string{"systemctl", "is-active", "--quiet", name},
	}
}
