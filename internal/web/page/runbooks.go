package page

import (
	"bytes"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"github.com/certmedic/certmedic/docs"
)

// Runbooks is the list of runbooks.
type Runbooks struct{}

func (Runbooks) shown(time.Time) shown {
	var all []link
	for _, name := range docs.Runbooks() {
		markdown, _ := docs.Page(name)
		all = append(all, link{titleOf(markdown, name), "/runbooks/" + segment(name)})
	}
	return shown{Template: "runbooks", Title: "Runbooks", Section: "/runbooks", Data: all}
}

// Runbook is one runbook, or a page that runbooks lead to.
type Runbook struct {
	Name     string
	Markdown []byte // from [docs.Page]
}

func (r Runbook) shown(time.Time) shown {
	m := struct {
		Name string
		HTML template.HTML
	}{r.Name, rendered(r.Markdown)}
	return shown{Template: "runbook", Title: titleOf(r.Markdown, r.Name), Section: "/runbooks", Data: m}
}

// titleOf returns the first heading of a page.
func titleOf(markdown []byte, otherwise string) string {
	first, _, _ := strings.Cut(string(markdown), "\n")
	if title, ok := strings.CutPrefix(first, "# "); ok {
		return title
	}
	return otherwise
}

// rendered makes HTML of a page. HTML within the page is left out, and links to other pages of the
// documents lead to where they are shown.
func rendered(markdown []byte) template.HTML {
	tables := extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone))
	g := goldmark.New(goldmark.WithExtensions(tables), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	document := g.Parser().Parse(text.NewReader(markdown))
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker has no errors
		if l, ok := n.(*ast.Link); ok && entering {
			l.Destination = []byte(shownAt(string(l.Destination)))
		}
		return ast.WalkContinue, nil
	})
	var b bytes.Buffer
	if err := g.Renderer().Render(&b, markdown, document); err != nil {
		return template.HTML(template.HTMLEscapeString(string(markdown))) //nolint:gosec // escaped
	}
	scrolled := strings.ReplaceAll(b.String(), "<pre>", `<pre tabindex="0">`) // by keys, too
	return template.HTML(scrolled)                                            //nolint:gosec // goldmark escapes, and leaves out HTML
}

// shownAt returns where a link of a document leads to in the web page; nowhere, where a browser would
// do anything but open a page.
func shownAt(destination string) string {
	u, err := url.Parse(destination)
	if err != nil || u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	if u.Host == "" && strings.HasSuffix(u.Path, "runbooks/") {
		return "/runbooks"
	}
	name, markdown := strings.CutSuffix(u.Path[strings.LastIndex(u.Path, "/")+1:], ".md")
	if !markdown || u.Host != "" {
		return destination
	}
	to := "/runbooks/" + segment(name)
	if u.Fragment != "" {
		to += "#" + u.EscapedFragment()
	}
	return to
}
