package disk

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/certmedic/certmedic"
)

// Archived is a version in a lineage's archive.
type Archived struct {
	Number  int
	Source  certmedic.Source // its files, to be read like plain ones
	Missing []string         // the kinds of which there is no file
}

// Archive lists the versions in the archive of a lineage, the highest number first. It reads
// none of them. A renewal configuration that is broken or missing leaves certbot's default
// place of the archive.
func Archive(src certmedic.Source) ([]Archived, error) {
	if src.Kind != certmedic.SourceCertbot || !filepath.IsLocal(src.Lineage) {
		return nil, errors.New("listing an archive: the source is no lineage of certbot's")
	}
	conf, _ := ReadRenewalConf(confPath(src)) // what is wrong with it is told where it is read
	dir := archiveDir(src, conf)
	names, err := listFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("listing an archive: %w", err)
	}
	there := map[int][]string{}
	for _, name := range names {
		if file, ok := archiveName(name); ok {
			there[file.number] = append(there[file.number], kinds[file.kind])
		}
	}
	all := make([]Archived, 0, len(there))
	for number, has := range there {
		all = append(all, versionAt(dir, number, has))
	}
	slices.SortFunc(all, func(a, b Archived) int { return cmp.Compare(b.Number, a.Number) })
	return all, nil
}

func versionAt(dir string, number int, has []string) Archived {
	v := Archived{Number: number}
	for _, kind := range kinds {
		if !slices.Contains(has, kind) {
			v.Missing = append(v.Missing, kind)
		}
	}
	at := func(k kind) string { return filepath.Join(dir, kinds[k]+strconv.Itoa(number)+".pem") }
	v.Source = certmedic.Source{Kind: certmedic.SourceFiles, Cert: at(kindCert), Chain: at(kindChain), Key: at(kindPrivkey)}
	return v
}
