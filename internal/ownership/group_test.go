package ownership

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPrivateGroup(t *testing.T) {
	dir := t.TempDir()
	a := accounts{filepath.Join(dir, "passwd"), filepath.Join(dir, "group")}
	passwd := "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1002::/home/bob:/bin/sh\ncid:x:1003:1002::/home/cid:/bin/sh\n"
	group := "root:x:0:\nann:x:1000:\nweb:x:1001:ann,bob\nstaff:x:1002:\nself:x:1004:ann\n"
	for file, text := range map[string]string{a.passwd: passwd, a.group: group} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name     string
		gid, uid uint32
		want     bool
	}{
		{"a group of one's own", 1000, 1000, true},
		{"a group whose only member is the owner", 1004, 1000, true},
		{"a group with somebody else in it", 1001, 1000, false},
		{"the primary group of others", 1002, 1001, false},
		{"somebody else's group", 1000, 1001, false},
		{"a group that is not known", 4242, 1000, false},
		{"an owner who is not known", 1004, 4242, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := a.private(tt.gid, tt.uid); got != tt.want {
				t.Errorf("private(%d, %d) = %v", tt.gid, tt.uid, got)
			}
		})
	}
	if (accounts{"missing", "missing"}).private(1000, 1000) {
		t.Error("without databases nothing is private")
	}
}
