package disk

import (
	"os"
	"path/filepath"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk/keystore"
)

// readFiles reads plain files: a leaf, alone or with its chain, and where they are
// named its chain and its key; or a key store or a kubeconfig, which hold them all.
func (b *builder) readFiles(src certmedic.Source) {
	b.stored.Path = src.Cert
	b.stored.Since = since(src.Cert)
	b.stored.Files = certmedic.StoredFiles{Privkey: src.Key, Chain: src.Chain}
	if src.PassphraseFile != "" {
		b.readPassphrase(src.PassphraseFile)
	}
	data, id, err := readWhole(src.Cert, maxPEMSize)
	b.keepNamed(src.Cert, id)
	switch {
	case err != nil:
		b.readFailed(src.Cert, err)
	case keystore.Detect(data) != keystore.None:
		b.stored.Files.Fullchain = src.Cert
		b.readStore(src.Cert, data, id)
		clear(data)
		if src.Key == src.Cert {
			return // told already
		}
	case isKubeconfig(data) && !b.reader.named:
		b.takeItem(src.Cert, b.reader.kubeconfigItems(place{src.Cert, id, b.now}, data))
		clear(data)
		return
	default:
		b.certs = b.takeCerts(src.Cert, data)
	}
	if src.Chain == "" {
		b.stored.Files.Fullchain = src.Cert
	} else {
		b.stored.Files.Cert = src.Cert
		b.addChain(src.Chain)
	}
	b.arrange()
	if src.Key != "" {
		b.checkKey(src.Key)
	}
}

// addChain appends a chain file's certificates to a leaf. Without a leaf they would
// be taken for one.
func (b *builder) addChain(path string) {
	chain := b.readCerts(path)
	if len(b.certs) > 0 {
		b.certs = append(b.certs, chain...)
	}
}

// keepNamed notes a file that was read, under the name that its own leads to where that is
// a link.
func (b *builder) keepNamed(path string, id fileID) {
	target, err := readLink(path)
	switch {
	case err != nil:
		target = path
	case !filepath.IsAbs(target):
		target = filepath.Join(filepath.Dir(path), target)
	}
	b.keep(target, id)
}

// since returns the newer of the times of a file and of the link that leads to it;
// the zero time where there is neither.
func since(path string) time.Time {
	var newest time.Time
	for _, stat := range []func(string) (os.FileInfo, error){os.Lstat, os.Stat} {
		if info, err := stat(path); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}
