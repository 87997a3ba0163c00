package disk

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/certmedic/certmedic"
)

// The names in the folder of a source of kind acme or shared.
const (
	currentName  = "current"
	versionsName = "versions"
)

// IssuedFiles returns the paths by which the current version of a source of kind acme or shared is read.
func IssuedFiles(src certmedic.Source) certmedic.StoredFiles {
	in := func(k kind) string { return filepath.Join(src.Folder, currentName, kinds[k]+".pem") }
	return certmedic.StoredFiles{Cert: in(kindCert), Privkey: in(kindPrivkey), Chain: in(kindChain), Fullchain: in(kindFullchain)}
}

// readIssued reads what certmedic had issued itself. Before the first version there is nothing
// to be found wrong.
func (b *builder) readIssued(src certmedic.Source) {
	b.stored.Directory = src.Directory
	b.stored.Files = IssuedFiles(src)
	b.stored.Path = b.stored.Files.Fullchain
	current := filepath.Join(src.Folder, currentName)
	if _, err := readLink(current); errors.Is(err, fs.ErrNotExist) {
		return
	}
	b.stored.Since = since(current)
	b.certs = b.readCerts(b.stored.Files.Fullchain)
	b.checkKey(b.stored.Files.Privkey)
	b.readVersions(filepath.Join(src.Folder, versionsName))
}

// readVersions learns the versions that are still kept, and when each was replaced.
func (b *builder) readVersions(folder string) {
	names, err := listFolder(folder)
	if err != nil {
		b.readFailed(folder, err)
		return
	}
	leaves := make([]oldLeaf, 0, len(names))
	for _, name := range names {
		if leaf := b.reader.Keys.leafOf(filepath.Join(folder, name, kinds[kindCert]+".pem"), b.now); leaf.version != "" {
			leaves = append(leaves, leaf)
		}
	}
	slices.SortFunc(leaves, func(x, y oldLeaf) int {
		return cmp.Or(cmp.Compare(x.notBefore, y.notBefore), cmp.Compare(x.version, y.version))
	})
	var past succession
	for _, leaf := range leaves {
		b.know(leaf.version)
		b.issued(leaf)
		past.add(leaf)
	}
	b.stored.Ages = past.ages()
	b.stored.Issued = b.stored.Issued[max(0, len(b.stored.Issued)-maxIssued):]
}

// issuedFootprint says where changes of a source of kind acme or shared show. Its folder is looked
// for until something was issued.
func issuedFootprint(src certmedic.Source) footprint {
	files := IssuedFiles(src)
	current := filepath.Join(src.Folder, currentName)
	return footprint{
		needed:  []string{src.Folder},
		witness: current,
		files:   []string{current, files.Fullchain, files.Privkey},
		links:   []string{current},
	}
}
