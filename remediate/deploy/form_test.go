package deploy_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	reader "github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/remediate/deploy"
)

const passphrase = "s3same street"

// storeFile is a file of a destination that is a key store.
func storeFile(t *testing.T, dir string, part certmedic.FilePart) certmedic.InstalledFile {
	t.Helper()
	return certmedic.InstalledFile{
		From: part, To: filepath.Join(dir, "store."+string(part)), Alias: "shop",
		PassphraseFile: write(t, t.TempDir(), "pass", []byte(passphrase+"\r\nnothing else\n")),
	}
}

func steps(t *testing.T, v version, files ...certmedic.InstalledFile) deploy.Plan {
	t.Helper()
	plan, err := deploy.Steps([]certmedic.Destination{{Name: "d", Files: files}}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestCombined(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	path := filepath.Join(dir, "shop.pem")
	plan := steps(t, v, certmedic.InstalledFile{From: certmedic.PartCombined, To: path})
	install(t, plan)
	if got, want := read(t, path), string(v.pair.FullchainPEM())+string(v.key); got != want {
		t.Errorf("the file is\n%s\nwant leaf, chain and key", got)
	}
	if perm, _, _ := mode(t, path); perm != 0o600 {
		t.Errorf("its mode is %o", perm)
	}
}

func TestKeystores(t *testing.T) {
	v := newVersion(t)
	for _, part := range []certmedic.FilePart{certmedic.PartPKCS12, certmedic.PartJKS} {
		file := storeFile(t, t.TempDir(), part)
		plan, again := steps(t, v, file), steps(t, v, file)
		if plan.Files[0].SHA256 != again.Files[0].SHA256 || plan.Files[0].Size != again.Files[0].Size {
			t.Errorf("%s: two plans for the same differ: %+v, %+v", part, plan.Files[0], again.Files[0])
		}
		in := install(t, plan)
		if perm, _, _ := mode(t, file.To); perm != 0o600 {
			t.Errorf("%s: its mode is %o", part, perm)
		}
		entries, err := reader.Read([]byte(read(t, file.To)), [][]byte{[]byte(passphrase)})
		if err != nil || len(entries) != 1 || entries[0].Alias != "shop" || len(entries[0].Certs) != 2 {
			t.Fatalf("%s: %+v, %v", part, entries, err)
		}
		if !deploy.Installed(in.Changes()) {
			t.Errorf("%s: what was committed is not seen as installed", part)
		}
		if other := steps(t, newVersion(t), file); other.Files[0].SHA256 == plan.Files[0].SHA256 {
			t.Errorf("%s: another version has the same hash", part)
		}
		file.Alias = "other"
		if other := steps(t, v, file); other.Files[0].SHA256 == plan.Files[0].SHA256 || other.Basis == plan.Basis {
			t.Errorf("%s: another alias has the same hash or basis", part)
		}
		if err := os.WriteFile(file.PassphraseFile, []byte("another passphrase"), 0o600); err != nil {
			t.Fatal(err)
		}
		if other := steps(t, v, file); other.Basis == plan.Basis {
			t.Errorf("%s: a changed passphrase is no other cure", part)
		}
	}
}

func TestKeystoresAreRefused(t *testing.T) {
	v := newVersion(t)
	for _, row := range []struct {
		about, want string
		change      func(t *testing.T, f *certmedic.InstalledFile)
	}{
		{"others may read the passphrase", "read by others", func(t *testing.T, f *certmedic.InstalledFile) {
			if err := os.Chmod(f.PassphraseFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"the passphrase is missing", "no such file", func(_ *testing.T, f *certmedic.InstalledFile) { f.PassphraseFile += ".gone" }},
		{"no passphrase is configured", "no passphrase_file", func(_ *testing.T, f *certmedic.InstalledFile) { f.PassphraseFile = "" }},
		{"the passphrase is empty", "fewer than", func(t *testing.T, f *certmedic.InstalledFile) {
			f.PassphraseFile = write(t, t.TempDir(), "pass", nil)
		}},
	} {
		file := storeFile(t, t.TempDir(), certmedic.PartPKCS12)
		row.change(t, &file)
		_, err := deploy.Steps([]certmedic.Destination{{Name: "d", Files: []certmedic.InstalledFile{file}}}, v.Stored, nil, false)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
}

// TestPlanSaysWhatWillBe shows that a plan has the modes and owners that its files will have,
// whatever is there now and whatever is configured.
func TestPlanSaysWhatWillBe(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	old := write(t, dir, "old.pem", []byte("old"))
	if err := os.Chmod(old, 0o640); err != nil {
		t.Fatal(err)
	}
	group := filepath.Join(dir, "group")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	files := []certmedic.InstalledFile{
		{From: certmedic.PartPrivkey, To: filepath.Join(dir, "key.pem")},
		{From: certmedic.PartCombined, To: filepath.Join(dir, "combined.pem")},
		{From: certmedic.PartCert, To: filepath.Join(dir, "cert.pem")},
		{From: certmedic.PartFullchain, To: old},
		{From: certmedic.PartCert, To: filepath.Join(group, "cert.pem"), Mode: "0444"},
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(old, 65534, 1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(group, 0, 1); err != nil {
			t.Fatal(err)
		}
		files[0].Owner = "nobody:daemon"
	}
	if err := os.Chmod(group, 0o755|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	plan := steps(t, v, files...)
	install(t, plan)
	for _, f := range plan.Files {
		perm, uid, gid := mode(t, f.To)
		if want := fmt.Sprintf("%04o", perm); f.Mode != want {
			t.Errorf("%s is planned with the mode %s and has %s", f.To, f.Mode, want)
		}
		if want := owner(t, uid, gid); f.Owner != want {
			t.Errorf("%s is planned for %s and belongs to %s", f.To, f.Owner, want)
		}
	}
	data, err := json.Marshal(plan)
	if err != nil || strings.Contains(string(data), "PRIVATE KEY") {
		t.Errorf("the plan shows a key: %v", err)
	}
}

// owner names a user and a group.
func owner(t *testing.T, uid, gid uint32) string {
	t.Helper()
	u, err := user.LookupId(fmt.Sprint(uid))
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(fmt.Sprint(gid))
	if err != nil {
		t.Fatal(err)
	}
	return u.Username + ":" + g.Name
}

// TestOrderOfFiles shows that what is watched for a change comes last, in each destination.
func TestOrderOfFiles(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	two := []certmedic.Destination{
		destination(filepath.Join(dir, "b"), allParts()...),
		destination(filepath.Join(dir, "a"), certmedic.PartCombined, certmedic.PartChain, certmedic.PartPrivkey),
	}
	plan, err := deploy.Steps(two, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range plan.Files {
		below, err := filepath.Rel(dir, f.To)
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, below)
	}
	want := []string{"b/privkey.pem", "b/chain.pem", "b/cert.pem", "b/fullchain.pem", "a/privkey.pem", "a/chain.pem", "a/combined.pem"}
	if !slices.Equal(order, want) {
		t.Errorf("files in the order %q, want %q", order, want)
	}
}
