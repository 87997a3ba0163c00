package disk

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// footprint is what a watcher looks at for one source.
type footprint struct {
	needed   []string // folders that have to be there
	optional []string // folders that may be absent for ever
	files    []string // names whose state makes the fingerprint
}

// footprintOf says where a source's changes show: in the folders of its files and of
// every link on the way to them, since links are swapped as often as files.
func footprintOf(src certmedic.Source) footprint {
	var f footprint
	switch src.Kind {
	case certmedic.SourceCertbot:
		f = lineageFootprint(src)
	case certmedic.SourceFiles:
		for _, file := range []string{src.Cert, src.Key, src.Chain} {
			if file != "" {
				f.files = append(f.files, file)
				f.needed = append(f.needed, filepath.Dir(file))
			}
		}
	}
	for _, file := range f.files {
		f.optional = append(f.optional, linkFolders(file)...)
	}
	f.needed = unique(f.needed)
	f.optional = slices.DeleteFunc(unique(f.optional), func(folder string) bool {
		return slices.Contains(f.needed, folder)
	})
	return f
}

func lineageFootprint(src certmedic.Source) footprint {
	conf, _ := ReadRenewalConf(confPath(src))
	live, archive := livePaths(src, conf), archiveDir(src, conf)
	in := func(name string) string { return filepath.Join(src.ConfigDir, name) }
	hooks := in("renewal-hooks/deploy")
	f := footprint{
		needed:   []string{filepath.Clean(src.ConfigDir), in("renewal"), in("live"), filepath.Dir(archive), archive},
		optional: []string{hooks},
		files:    []string{confPath(src), in(lockName), in("cli.ini"), archive, hooks},
	}
	for _, path := range live {
		f.needed = append(f.needed, filepath.Dir(path))
		f.files = append(f.files, filepath.Dir(path), path)
	}
	entries, _ := os.ReadDir(hooks)
	for _, entry := range entries {
		f.files = append(f.files, filepath.Join(hooks, entry.Name()))
	}
	return f
}

// fingerprint tells one state of the files from another, by what stat and lstat say.
// Names that are not there are part of the state.
func (f footprint) fingerprint() uint64 {
	hash := fnv.New64a()
	for _, file := range f.files {
		name, nameErr := identifyLink(file)
		target, targetErr := identify(file)
		fmt.Fprintf(hash, "%s\x00%v %v %v %v\x00", file, name, nameErr == nil, target, targetErr == nil)
	}
	return hash.Sum64()
}

// maxLinkHops bounds the links on the way to one file, as the kernel does.
const maxLinkHops = 40

// linkFolders returns the folders that hold a link on the way to a file, and the
// folder that the way ends in.
func linkFolders(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var folders []string
	here, rest := "/", strings.Split(path[1:], "/")
	for hops := 0; len(rest) > 0 && hops < maxLinkHops; {
		next := filepath.Join(here, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(next)
		if err != nil { // not a link, or not there
			here = next
			continue
		}
		hops++
		folders = append(folders, here)
		if filepath.IsAbs(target) {
			here = "/"
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	return append(folders, filepath.Dir(here))
}

func unique(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}
