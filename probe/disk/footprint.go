package disk

import (
	"encoding/binary"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// footprint is what a watcher looks at for one source.
type footprint struct {
	tree     string   // certbot's folder, of which lock, defaults and hooks count for all lineages
	needed   []string // folders that have to be there
	optional []string // folders that may be absent for ever
	witness  string   // the name behind which nearly every change shows
	files    []string // names whose state makes the fingerprint, links followed
	links    []string // links on the way to them whose own state does, too
	ends     []string // where the ways end
}

// same reports whether two footprints need the same watches and tell the same events.
func (f *footprint) same(g *footprint) bool {
	return f.tree == g.tree && f.witness == g.witness && slices.Equal(f.needed, g.needed) && slices.Equal(f.optional, g.optional) &&
		slices.Equal(f.files, g.files) && slices.Equal(f.links, g.links) && slices.Equal(f.ends, g.ends)
}

// glance is one look at many sources. It remembers what they share, so that each thing is
// looked at once.
type glance struct {
	seed  maphash.Seed
	now   time.Time
	cache *KeyCache
	trees map[string]uint64
	links map[string]string // what a name links to, empty where it is no link
}

func newGlance(seed maphash.Seed, cache *KeyCache) *glance {
	return &glance{seed: seed, now: time.Now(), cache: cache, trees: map[string]uint64{}, links: map[string]string{}}
}

// footprintOf says where a source's changes show: in the folders of its files and of
// every link on the way to them, since links are swapped as often as files.
func (g *glance) footprintOf(src certmedic.Source) footprint {
	var f footprint
	switch src.Kind {
	case certmedic.SourceCertbot:
		f = g.lineageFootprint(src)
	case certmedic.SourceFiles:
		f.witness = src.Cert
		for _, file := range []string{src.Cert, src.Key, src.Chain, src.PassphraseFile} {
			if file != "" {
				f.files = append(f.files, file)
				f.needed = append(f.needed, filepath.Dir(file))
			}
		}
	case certmedic.SourceACME, certmedic.SourceShared:
		f = issuedFootprint(src)
	}
	f.needed = unique(f.needed)
	for _, file := range f.files {
		g.addTrail(&f, file)
	}
	f.optional = slices.DeleteFunc(unique(f.optional), func(folder string) bool {
		return slices.Contains(f.needed, folder)
	})
	f.links, f.ends = unique(f.links), unique(f.ends)
	return f
}

func (g *glance) lineageFootprint(src certmedic.Source) footprint {
	conf, _ := g.cache.readConf(confPath(src), g.now)
	live, archive := livePaths(src, conf), archiveDir(src, conf)
	in := func(name string) string { return filepath.Join(src.ConfigDir, name) }
	f := footprint{
		tree:     filepath.Clean(src.ConfigDir),
		needed:   []string{filepath.Clean(src.ConfigDir), in("renewal"), in("live"), filepath.Dir(archive), archive},
		optional: []string{hooksFolder(src.ConfigDir)},
		witness:  filepath.Dir(live[3]), // cheaper than the file behind the link, and a renewal moves links
		files:    []string{confPath(src), archive},
	}
	for _, path := range live {
		if folder := filepath.Dir(path); !slices.Contains(f.files, folder) {
			f.needed = append(f.needed, folder)
			f.files = append(f.files, folder)
		}
		f.files = append(f.files, path)
	}
	return f
}

func hooksFolder(configDir string) string { return filepath.Join(configDir, "renewal-hooks/deploy") }

// addTrail adds the way to a file. What happens in a folder that is fingerprinted itself
// shows there.
func (g *glance) addTrail(f *footprint, file string) {
	folders, links, end := g.trail(file)
	f.optional = append(f.optional, folders...)
	for _, link := range links {
		if !slices.Contains(f.files, filepath.Dir(link)) {
			f.links = append(f.links, link)
		}
	}
	if !slices.Contains(f.files, end) && !slices.Contains(f.files, filepath.Dir(end)) {
		f.ends = append(f.ends, end)
	}
}

// fingerprint tells one state of a source from another, by what stat and lstat say. Names
// that are not there are part of the state.
func (g *glance) fingerprint(f *footprint) uint64 {
	state := make([]byte, 0, 64*(len(f.files)+len(f.links)+1))
	for _, file := range f.files {
		state = appendState(state, file, 0)
	}
	for _, link := range f.links {
		state = appendState(state, link, unix.AT_SYMLINK_NOFOLLOW)
	}
	return maphash.Bytes(g.seed, state)
}

// testify is the fingerprint of the witness alone.
func (g *glance) testify(f *footprint) uint64 {
	var buf [64]byte
	return maphash.Bytes(g.seed, appendState(buf[:0], f.witness, 0))
}

// treePrint is the fingerprint of what all lineages of a tree share, 0 for no tree.
func (g *glance) treePrint(configDir string) uint64 {
	if configDir == "" {
		return 0
	}
	if print, ok := g.trees[configDir]; ok {
		return print
	}
	hooks := hooksFolder(configDir)
	var state []byte
	for _, file := range []string{filepath.Join(configDir, lockName), filepath.Join(configDir, "cli.ini"), hooks} {
		state = appendState(state, file, 0)
	}
	entries, _ := os.ReadDir(hooks)
	for _, entry := range entries {
		state = append(state, entry.Name()...)
		state = appendState(state, filepath.Join(hooks, entry.Name()), unix.AT_SYMLINK_NOFOLLOW)
		state = appendState(state, filepath.Join(hooks, entry.Name()), 0)
	}
	g.trees[configDir] = maphash.Bytes(g.seed, state)
	return g.trees[configDir]
}

// appendState appends what fstatat, with its flags, says of a name; why it says nothing is
// no part of it.
func appendState(state []byte, name string, flags int) []byte {
	var st unix.Stat_t
	if unix.Fstatat(unix.AT_FDCWD, name, &st, flags) != nil {
		return append(state, 0)
	}
	id := newFileID(&st)
	for _, word := range []uint64{id.dev, id.ino, uint64(id.size), uint64(id.mode), uint64(id.mtime), uint64(id.ctim)} {
		state = binary.NativeEndian.AppendUint64(state, word)
	}
	return state
}

// maxLinkHops bounds the links on the way to one file, as the kernel does.
const maxLinkHops = 40

// trail follows the way to a file. It returns the folders that hold a link on it, with the
// folder that it ends in, the links themselves, and its end.
func (g *glance) trail(path string) (folders, links []string, end string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, ""
	}
	here, rest := "/", strings.Split(path[1:], "/")
	for len(rest) > 0 && len(links) < maxLinkHops {
		next := filepath.Join(here, rest[0])
		rest = rest[1:]
		target := g.readlink(next)
		if target == "" {
			here = next
			continue
		}
		folders, links = append(folders, here), append(links, next)
		if filepath.IsAbs(target) {
			here = "/"
		}
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
	}
	return append(folders, filepath.Dir(here)), links, here
}

// readlink returns what a name links to, empty where it is no link or not there.
func (g *glance) readlink(name string) string {
	target, known := g.links[name]
	if !known {
		target, _ = os.Readlink(name)
		g.links[name] = target
	}
	return target
}

func unique(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}
