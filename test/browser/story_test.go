package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const site = "http://127.0.0.1:9879"

// tell starts what make run shows.
func (h *host) tell() {
	h.t.Helper()
	h.must("systemd-run --quiet --unit=story --working-directory=/root " + h.tools + "/certlab story --dir /root/story --certmedic " + h.tools + "/certmedic --every 20s")
	h.await("certmedic is ready", func() bool {
		r, err := h.Sh(h.t.Context(), "curl --silent --fail "+site+"/-/ready")
		return err == nil && r.Code == 0
	})
}

// shots are the pictures in docs/pages, by the page that they show.
var shots = map[string]string{"/": "fleet", "/calendar": "calendar"}

// TestStoryIsWatched watches the whole story of make run in the page: nothing is touched, the page
// follows by itself. Then it looks at every other page.
func TestStoryIsWatched(t *testing.T) {
	h := boot(t)
	h.tell()
	b := h.browse()
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(site+"/"))
	for _, word := range []string{"stored", "healed"} {
		h.await(fmt.Sprintf("the page says %q by itself", word), func() bool { return strings.Contains(b.text("main"), word) })
	}
	b.sound("the first page")
	for _, path := range h.links(b) {
		b.do(chromedp.Navigate(site + path))
		b.sound(path)
		b.picture(path)
	}
}

// sound fails the test if something is wrong with the page that is shown.
func (b *browser) sound(where string) {
	b.h.t.Helper()
	b.quiet(where)
	b.accessible(where)
	b.narrow(where)
}

// links follows the links of the pages from the first one on, and returns one address of each kind.
func (h *host) links(b *browser) []string {
	h.t.Helper()
	seen, kinds := []string{"/"}, map[string]bool{"/": true}
	for i := 0; i < len(seen) && i < 60; i++ {
		b.do(chromedp.Navigate(site + seen[i]))
		var hrefs []string
		b.ask(`[...document.querySelectorAll("a[href^='/']")].map(a => a.getAttribute("href").split("#")[0])`, &hrefs)
		for _, href := range hrefs {
			kind, _, _ := strings.Cut(href, "?")
			if parts := strings.SplitN(kind, "/", 4); len(parts) > 2 {
				kind = "/" + parts[1] + "/*"
			}
			if !kinds[kind] && kind != "/metrics" && kind != "/api/*" {
				kinds[kind] = true
				seen = append(seen, href)
			}
		}
	}
	if len(seen) < 12 {
		h.t.Errorf("only these pages are linked: %v", seen)
	}
	return seen
}

// narrow fails the test if the page is wider than a phone's window.
func (b *browser) narrow(where string) {
	b.h.t.Helper()
	var wide int
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.ask(`document.documentElement.scrollWidth`, &wide)
	b.do(chromedp.EmulateViewport(1280, 900))
	if wide > 390 {
		b.h.t.Errorf("%s: it is %d wide on a phone", where, wide)
	}
}

// picture writes a picture of the page, in the light and in the dark, for the documentation. CERTMEDIC_PICTURES
// names the folder; without it there are none, because they differ with every run.
func (b *browser) picture(path string) {
	b.h.t.Helper()
	name, folder := shots[path], os.Getenv("CERTMEDIC_PICTURES")
	if strings.HasPrefix(path, "/certificates/") {
		name = "certificate"
	}
	if name == "" || folder == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		var png []byte
		b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), chromedp.FullScreenshot(&png, 100))
		if err := os.WriteFile(filepath.Join(folder, name+"-"+scheme+".png"), png, 0o644); err != nil {
			b.h.t.Error(err)
		}
	}
	b.do(emulation.SetEmulatedMedia())
}
