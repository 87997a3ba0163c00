// Package docs holds the pages of this folder that are shown in the web page: the runbooks, and what
// they lead to. internal/web/page renders them. It promises that every runbook in the repository is
// in the program, so that it can be read where nothing else can be reached.
package docs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed runbooks/*.md refusals.md renewal.md causes.md
var pages embed.FS

// Runbooks returns the names of the runbooks, sorted.
func Runbooks() []string {
	files, _ := fs.Glob(pages, "runbooks/*.md") // the pattern is a good one
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, strings.TrimSuffix(path.Base(file), ".md"))
	}
	slices.Sort(names)
	return names
}

// Page returns the Markdown of a runbook, or of a page that runbooks lead to, by its name without
// the suffix .md.
func Page(name string) (markdown []byte, ok bool) {
	if name != path.Base(name) {
		return nil, false
	}
	for _, folder := range []string{"runbooks", "."} {
		if data, err := pages.ReadFile(path.Join(folder, name+".md")); err == nil {
			return data, true
		}
	}
	return nil, false
}
