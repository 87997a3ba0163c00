package disk_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

func TestVersionsOfAnArchive(t *testing.T) {
	tree := disktest.New(t)
	first := tree.Issue("shop", names, disktest.Options{ReuseKey: true})
	second := tree.Renew("shop") // its key is a link to the first one's
	tree.Renew("shop")
	must(t, os.Remove(tree.Archive("shop", "chain", 3)))
	must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "archive/shop/cert9.pem.bak"), nil, 0o644))

	all, err := disk.Archive(tree.Source("shop"))
	must(t, err)
	if len(all) != 3 || all[0].Number != 3 || all[2].Number != 1 || !slices.Equal(all[0].Missing, []string{"chain"}) || len(all[1].Missing) > 0 {
		t.Fatalf("the archive has %+v", all)
	}
	for i, want := range map[int]disktest.Version{1: second, 2: first} {
		content := disk.Reader{}.Read(all[i].Source, time.Now())
		if leaf, _ := content.Stored.Leaf(); leaf.SHA256 != want.Fingerprint || !content.KeyMatches || len(content.Certs) != 2 || len(content.Stored.Findings) > 0 {
			t.Errorf("number %d is %s, key matches: %t, %s", all[i].Number, leaf.SHA256.Short(), content.KeyMatches, details(content.Stored.Findings))
		}
	}
	must(t, os.Remove(tree.Conf("shop")))
	if again, err := disk.Archive(tree.Source("shop")); err != nil || len(again) != 3 {
		t.Errorf("without a configuration it has %+v, %v", again, err)
	}
}

func TestNoArchive(t *testing.T) {
	tree := disktest.New(t)
	for _, src := range []certmedic.Source{{Kind: certmedic.SourceFiles, Cert: "/x"}, tree.Source("gone"), tree.Source("../x")} {
		if all, err := disk.Archive(src); err == nil {
			t.Errorf("%+v has %+v", src, all)
		}
	}
}
