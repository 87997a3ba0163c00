// Package page renders the one page for people: what every certificate's state is, where
// its newest version stopped on its way, what is wrong, and what was done about it. The web
// server calls [Render] for / and mounts [Assets] below /assets/.
//
// The page is read-only and plain HTML: no script, no inline style, nothing from elsewhere,
// so that it holds under [ContentSecurityPolicy]. It promises that no string from a
// certificate, a server or a file reaches the browser unescaped, or with control characters
// in it. The output of hooks is for the caller to leave out: whoever may open the page need
// not be one who may read that.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"
	"unicode"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// ContentSecurityPolicy is the value of the header of that name that the page is made for.
const ContentSecurityPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Data is what the page shows.
type Data struct {
	Version   string
	Now       time.Time
	Views     []watchdog.View      // in the order in which they are shown, worst first
	Actions   []certmedic.Action   // newest first
	Incidents []certmedic.Incident // open ones first; those that a view has are shown with it
	Degraded  []string             // what certmedic itself cannot do now, in sentences
	// Acknowledged is who looks after what fires, by the dedup key of its incidents.
	Acknowledged map[string]alerting.Ack
	Silences     []silence.Silence // that hold now, the newest first

	Still bool // the page does not load itself again every few seconds
	Alone bool // Views is one certificate, which is shown with its matrix
}

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS []byte

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// Render writes the page. It writes nothing when it returns an error of its own making;
// other errors are those of w.
func Render(w io.Writer, d Data) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newModel(d)); err != nil {
		return fmt.Errorf("rendering the page: %w", err)
	}
	_, err := w.Write(bytes.Map(visible, b.Bytes()))
	return err
}

// visible replaces what a browser would not show, or would use to reorder what it shows.
// The template itself has no such characters but line feeds.
func visible(r rune) rune {
	if r == '\n' || unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}

// Assets serves the page's style sheet as style.css. The caller strips the prefix
// /assets/ from the path.
func Assets() http.Handler {
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(styleCSS))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "style.css" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache") // asked for again, answered by 304
		w.Header().Set("ETag", etag)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "style.css", time.Time{}, bytes.NewReader(styleCSS))
	})
}
