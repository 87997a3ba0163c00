// Package page renders the pages for people: how all certificates are, what is known of one, where
// its newest version stopped on its way, what is wrong, what was done about it and what will be, and
// the runbooks. The web server calls [Render] with one kind of [Content] for each page.
//
// Rendering is pure: it asks nobody and keeps nothing. A page is plain HTML that can be read without
// scripts, has no inline script or style and needs nothing from elsewhere, so that it holds under
// [ContentSecurityPolicy]. It promises that no string from a certificate, a server or a file reaches
// the browser unescaped, or with control characters in it. The output of hooks is for the caller to
// leave out: whoever may open a page need not be one who may read that.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"time"
	"unicode"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/web/assets"
)

// ContentSecurityPolicy is the value of the header of that name that the pages are made for.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Frame is what stands around the content of every page.
type Frame struct {
	Version string
	Now     time.Time
	Self    *url.URL // the address of the page, with its query, which it loads again
	Still   bool     // the page does not load itself again every few seconds
}

// Content is what one page shows: one of the other exported types of this package.
type Content interface {
	shown(now time.Time) shown
}

// shown is a page in words.
type shown struct {
	Template string // of its content
	Title    string
	Section  string // the address of the page in the navigation that it belongs to
	Live     bool   // what it shows changes by itself
	About    string // the certificate that it is about, of whose changes alone it is told; empty: of all
	Chart    bool   // it has a table that the chart library draws
	Data     any
}

// section is an entry of the navigation.
type section struct {
	Name, Href string
	Current    bool
}

// sections lists the navigation.
func sections(current string) []section {
	all := []section{
		{Name: "Fleet", Href: "/"},
		{Name: "Incidents", Href: "/incidents"},
		{Name: "Actions", Href: "/actions"},
		{Name: "Calendar", Href: "/calendar"},
		{Name: "Ledger", Href: "/ledger"},
		{Name: "Silences", Href: "/silences"},
		{Name: "Receivers", Href: "/receivers"},
		{Name: "Watchdog", Href: "/watchdog"},
		{Name: "Runbooks", Href: "/runbooks"},
	}
	for i := range all {
		all[i].Current = all[i].Href == current
	}
	return all
}

// framed is everything that the frame's template shows.
type framed struct {
	shown
	Version  string
	Now      moment
	Sections []section
	Self     string
	Reloads  bool
	Toggle   string // the address at which it holds still, or loads itself again
	Main     template.HTML
}

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("pages").Funcs(template.FuncMap{"asset": assets.Path}).ParseFS(templateFiles, "templates/*.html"))

// Render writes a page. It writes nothing when it returns an error of its own making; other errors
// are those of w.
func Render(w io.Writer, f Frame, c Content) error {
	s := c.shown(f.Now)
	var main, b bytes.Buffer
	if err := templates.ExecuteTemplate(&main, s.Template, s.Data); err != nil {
		return fmt.Errorf("rendering the page %q: %w", s.Template, err)
	}
	all := framed{
		shown: s, Version: f.Version, Now: at(f.Now, f.Now), Sections: sections(s.Section), Reloads: s.Live && !f.Still,
		Main: template.HTML(main.String()), //nolint:gosec // it was escaped by its template
	}
	all.Self, all.Toggle = f.addresses()
	if err := templates.ExecuteTemplate(&b, "frame", all); err != nil {
		return fmt.Errorf("rendering the page: %w", err)
	}
	_, err := w.Write(bytes.Map(visible, b.Bytes()))
	return err
}

// addresses returns the address of the page itself, and the one at which it holds still or, where it
// does, at which it does not.
func (f Frame) addresses() (self, toggle string) {
	if f.Self == nil {
		return "/", "/?still"
	}
	path, query := f.Self.EscapedPath(), f.Self.Query()
	self = path + question(query)
	if f.Still {
		query.Del("still")
	} else {
		query.Set("still", "1")
	}
	return self, path + question(query)
}

// question is a query with its question mark, or nothing.
func question(q url.Values) string {
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// visible replaces what a browser would not show, or would use to reorder what it shows.
// The templates themselves have no such characters but line feeds.
func visible(r rune) rune {
	if r == '\n' || r == '\t' || unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// link is something with a page of its own.
type link struct{ Text, Href string }

// The addresses of pages about one thing. A name may have any characters in it.
func certificateHref(name string) string { return "/certificates/" + segment(name) }
func incidentHref(id string) string      { return "/incidents/" + segment(id) }
func actionHref(id string) string        { return "/actions/" + segment(id) }

// segment writes a name as one segment of a path.
func segment(name string) string { return url.PathEscape(name) }

// Missing says that there is no such page.
type Missing struct{ What string }

func (m Missing) shown(time.Time) shown {
	return shown{Template: "missing", Title: "There is no such page", Data: m}
}

// Broken says that a page cannot be shown.
type Broken struct{ Why string }

func (b Broken) shown(time.Time) shown {
	return shown{Template: "broken", Title: "This page cannot be shown", Data: b}
}

// statuses lists the statuses, worst first.
func statuses() []certmedic.Status {
	return []certmedic.Status{certmedic.StatusCritical, certmedic.StatusUnknown, certmedic.StatusWarning, certmedic.StatusOK}
}
