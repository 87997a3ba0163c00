// Package assets serves what the pages need beside themselves: the style sheet, two small scripts
// of certmedic's own, and the two libraries that came from elsewhere (htmx, which loads parts of
// pages again, and uPlot, which draws the calendar), with their licences. The web server mounts
// [Handler] below /assets/, the pages ask [Path] where a file is.
//
// Everything is in the program: nothing is loaded from anywhere else. An address that has the hash of
// its file is kept by browsers for a year, any other is asked for again and answered by 304.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed files
var files embed.FS

// The files that pages name. The libraries carry their version, as they were published.
const (
	Style      = "style.css"
	Script     = "app.js"
	Calendar   = "calendar.js"
	Icon       = "icon.svg"
	HTMX       = "htmx-2.0.11.min.js"
	UPlot      = "uplot-1.6.32.min.js"
	UPlotStyle = "uplot-1.6.32.min.css"
)

// Path returns the address of a file, with the hash of its content. A file that is not there is a
// mistake of the program: its address is one that nothing answers.
func Path(name string) string {
	data, err := files.ReadFile(path.Join("files", name))
	if err != nil {
		return "/assets/" + name
	}
	return "/assets/" + name + "?v=" + version(data)
}

func version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// asset is a file that is ready to be sent.
type asset struct {
	data, zipped []byte
	kind         string // its Content-Type
	version      string
}

// Handler serves the files. The caller strips the prefix /assets/ from the path.
func Handler() http.Handler {
	loaded := sync.OnceValues(load)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all, err := loaded()
		a, ok := all[r.URL.Path]
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !ok:
			http.NotFound(w, r)
		default:
			a.send(w, r)
		}
	})
}

func load() (map[string]asset, error) {
	entries, err := files.ReadDir("files")
	if err != nil {
		return nil, fmt.Errorf("reading the assets: %w", err)
	}
	all := map[string]asset{}
	for _, e := range entries {
		data, err := files.ReadFile(path.Join("files", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the assets: %w", err)
		}
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write(data) // a buffer takes everything
		_ = z.Close()
		all[e.Name()] = asset{data, zipped.Bytes(), kindOf(e.Name()), version(data)}
	}
	return all, nil
}

func kindOf(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "text/plain; charset=utf-8"
	}
}

func (a asset) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+a.version+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), a.version) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	data := a.data
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		data = a.zipped
	}
	h.Set("Content-Length", fmt.Sprint(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client may have gone
	}
}
