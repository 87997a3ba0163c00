package config

import (
	"net/url"
	"path/filepath"
	"strings"
)

// Audit names what only people can say, for the checklist of the command audit.
type Audit struct {
	Runbook  string `yaml:"runbook,omitempty" doc:"The page that says how to renew by hand where automation fails: a path, or a URL."`
	Contacts string `yaml:"contacts,omitempty" doc:"The page with who is to be called, and who after them: a path, or a URL."`
	Outside  string `yaml:"outside,omitempty" doc:"Who watches the expiry from another place, such as the URL of that monitor."`
}

// isURL reports whether a page is named by a URL, not by a path.
func isURL(page string) bool {
	u, err := url.Parse(page)
	return err == nil && strings.HasPrefix(u.Scheme, "http") && u.Host != ""
}

// Page returns the path of a page; empty where it is named by a URL, or not at all.
func (Audit) Page(page string) string {
	if page == "" || isURL(page) {
		return ""
	}
	return page
}

// audit checks that pages are named so that they can be opened from anywhere.
func (v *validator) audit(a Audit) {
	for key, page := range map[string]string{"runbook": a.Runbook, "contacts": a.Contacts} {
		if page != "" && !isURL(page) && !filepath.IsAbs(page) {
			v.errorf("audit."+key, "%q is neither an absolute path nor a URL", page)
		}
	}
}
