package person_test

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/person"
)

func TestOfProcess(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	// Who logged in to this session, if anybody did, does not change within a test.
	login, err := os.ReadFile("/proc/self/loginuid")
	if err != nil {
		t.Skip(err)
	}
	t.Setenv("USER", "mallory")
	t.Setenv("SUDO_USER", "mallory")
	got := person.OfProcess(os.Getpid(), os.Getuid())
	want := fmt.Sprintf("%s (uid %s)", me.Username, me.Uid)
	if who := strings.TrimSpace(string(login)); who != fmt.Sprint(uint32(math.MaxUint32)) && who != me.Uid {
		want = fmt.Sprintf(" (uid %s, as %s)", who, me.Username)
	}
	if !strings.HasSuffix(got, want) {
		t.Errorf("this process is of %q, want %q", got, want)
	}
	if got := person.OfProcess(1<<30, 4_000_000_000); got != "user 4000000000 (uid 4000000000)" {
		t.Errorf("a process that is gone, of a user without a name, is of %q", got)
	}
}
