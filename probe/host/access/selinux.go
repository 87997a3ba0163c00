package access

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// bySELinux says what the shipped policies do not let a domain search or read. Their booleans
// are considered. The policy of this host may be another one, and a domain of it permissive:
// nothing else is claimed than what is wrong on the hosts of people who ask why.
func (h host) bySELinux(domain string, way []node) []Denial {
	enforce := firstByte(filepath.Join(h.selinux, "enforce"))
	if enforce == '0' || slices.Contains(unconfined, domain) {
		return nil
	}
	var denied []Denial
	for _, n := range way {
		parts := strings.Split(n.label, ":")
		if n.kind == fs.ModeSymlink || len(parts) < 3 || !forbidden(n, parts[2]) || h.switchedOn(domain, parts[2]) {
			continue
		}
		do := "read"
		if n.want == maySearch {
			do = "enter"
		}
		why := fmt.Sprintf("its label is %s, which the domain %s may not %s; certificates are labelled cert_t", parts[2], domain, do)
		denied = append(denied, Denial{Path: n.path, By: SELinux, Why: why, Sure: enforce == '1' && slices.Contains(confined, domain)})
	}
	return denied
}

// unconfined are the domains that may do everything.
var unconfined = []string{"unconfined_t", "unconfined_service_t", "initrc_t", "init_t", "kernel_t", "spc_t", "sysadm_t"}

// confined are the domains of services that serve certificates, none of which may read what
// people and temporary programs leave behind.
var confined = []string{
	"httpd_t", "haproxy_t", "dovecot_t", "dovecot_auth_t", "postfix_master_t", "postfix_smtpd_t", "postfix_smtp_t",
	"slapd_t", "postgresql_t", "mysqld_t", "ftpd_t", "squid_t", "varnishd_t", "stunnel_t", "exim_t", "sendmail_t", "named_t",
}

// forbidden reports whether services may not search a folder, or read a file, of a type.
func forbidden(n node, label string) bool {
	folders := []string{"admin_home_t", "user_home_dir_t", "user_home_t", "ssh_home_t", "unlabeled_t"}
	files := []string{"admin_home_t", "user_home_t", "ssh_home_t", "unlabeled_t", "default_t", "tmp_t", "user_tmp_t", "file_t", "shadow_t"}
	if n.want == maySearch {
		return slices.Contains(folders, label)
	}
	return slices.Contains(files, label)
}

// switchedOn reports whether a boolean of the policy lets a domain do what it otherwise may not.
func (h host) switchedOn(domain, label string) bool {
	booleans := map[string][]string{
		"httpd_t user_home_dir_t": {"httpd_enable_homedirs", "httpd_read_user_content"},
		"httpd_t user_home_t":     {"httpd_read_user_content"},
		"ftpd_t user_home_dir_t":  {"ftpd_full_access"},
		"ftpd_t user_home_t":      {"ftpd_full_access"},
	}
	return slices.ContainsFunc(booleans[domain+" "+label], func(name string) bool {
		return firstByte(filepath.Join(h.selinux, "booleans", name)) == '1'
	})
}
