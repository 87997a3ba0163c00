package assets_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/web/assets"
)

// TestLibraries holds what came from elsewhere to what was looked at: a library changes by a new
// file, a new line here and its licence beside it.
func TestLibraries(t *testing.T) {
	for name, want := range map[string]string{
		assets.HTMX:         "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
		assets.UPlot:        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		assets.UPlotStyle:   "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"htmx.LICENSE.txt":  "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
		"uplot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		data, err := os.ReadFile("files/" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has the SHA-256 %x, want %s", name, sum, want)
		}
	}
}

func get(t *testing.T, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	http.StripPrefix("/assets/", assets.Handler()).ServeHTTP(w, r)
	return w.Result()
}

func TestEveryFileIsServedAndKept(t *testing.T) {
	for name, kind := range map[string]string{
		assets.Style: "text/css; charset=utf-8", assets.Script: "text/javascript; charset=utf-8", assets.Calendar: "text/javascript; charset=utf-8",
		assets.Icon: "image/svg+xml", assets.HTMX: "text/javascript; charset=utf-8", assets.UPlot: "text/javascript; charset=utf-8",
		assets.UPlotStyle: "text/css; charset=utf-8",
	} {
		path := assets.Path(name)
		answer := get(t, path)
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != http.StatusOK || len(body) == 0 || answer.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %s, %d bytes of %q", path, answer.Status, len(body), answer.Header.Get("Content-Type"))
		}
		if !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s is not kept: %q", path, answer.Header.Get("Cache-Control"))
		}
		again := get(t, path, "If-None-Match", answer.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s is sent again: %s", path, again.Status)
		}
		zipped := get(t, path, "Accept-Encoding", "br, gzip")
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if unzipped, err := io.ReadAll(z); err != nil || string(unzipped) != string(body) {
			t.Errorf("%s unzips to something else: %v", path, err)
		}
	}
}

func TestAnAddressWithoutTheHashIsAskedForAgain(t *testing.T) {
	for target, want := range map[string]int{"/assets/style.css": 200, "/assets/style.css?v=old": 200, "/assets/": 404, "/assets/files": 404, "/assets/nothing": 404} {
		answer := get(t, target)
		if answer.StatusCode != want {
			t.Errorf("%s: %s", target, answer.Status)
		}
		if want == 200 && answer.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %q", target, answer.Header.Get("Cache-Control"))
		}
	}
}
