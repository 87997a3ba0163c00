package fence_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/fence"
)

func changes(dirs ...string) (all []certmedic.Change) {
	for _, dir := range dirs {
		all = append(all, certmedic.Change{Path: filepath.Join(dir, "cert.pem")}, certmedic.Change{Path: filepath.Join(dir, "key.pem")})
	}
	return all
}

func TestTokensGrow(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	for _, row := range []struct {
		about       string
		dirs        []string
		certificate string
		token       uint64
		refused     bool
	}{
		{"the first token", []string{one}, "shop", 5, false},
		{"the same one again", []string{one}, "shop", 5, false},
		{"a lower one", []string{one}, "shop", 4, true},
		{"a higher one", []string{one}, "shop", 7, false},
		{"the one before that", []string{one}, "shop", 5, true},
		{"another certificate in the same folder", []string{one}, "mail", 1, false},
		{"a folder that knows none beside one that does", []string{other, one}, "shop", 6, true},
		{"both", []string{other, one}, "shop", 8, false},
		{"each of both", []string{other}, "shop", 7, true},
	} {
		all := changes(row.dirs...)
		check, raise := fence.Check(all, row.certificate, row.token), fence.Raise(all, row.certificate, row.token)
		if errors.Is(check, fence.ErrHigher) != row.refused || errors.Is(raise, fence.ErrHigher) != row.refused || !row.refused && (check != nil || raise != nil) {
			t.Errorf("%s: checked %v, raised %v", row.about, check, raise)
		}
	}
	if info, err := os.Stat(filepath.Join(one, fence.Name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestWhatCannotBeReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "{", `{"shop":-1}`, `{"shop":"2"}`} {
		if err := os.WriteFile(filepath.Join(dir, fence.Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fence.Raise(changes(dir), "shop", 3); err == nil || errors.Is(err, fence.ErrHigher) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := fence.Raise(changes(filepath.Join(dir, "gone")), "shop", 3); err == nil {
		t.Error("a folder that is not there takes a token")
	}
	if err := fence.Check(changes(filepath.Join(dir, "gone")), "shop", 3); err != nil {
		t.Errorf("a folder that is not there knows a token: %v", err)
	}
}

// TestRaisingTogether has many raise tokens of two certificates in one folder: the highest of each stays.
func TestRaisingTogether(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for token := range uint64(40) {
		for _, name := range []string{"shop", "mail"} {
			all.Go(func() {
				if err := fence.Raise(changes(dir), name, token+1); err != nil && !errors.Is(err, fence.ErrHigher) {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	for _, name := range []string{"shop", "mail"} {
		if low, high := fence.Check(changes(dir), name, 39), fence.Check(changes(dir), name, 40); !errors.Is(low, fence.ErrHigher) || high != nil {
			t.Errorf("the token of %s is not 40: %v, %v", name, low, high)
		}
	}
}
