package execx_test

import (
	"bytes"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
)

func TestRunGivesTheStandardInput(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, tt := range []struct {
		name  string
		argv  []string
		stdin []byte
		want  string
	}{
		{"as it is, in whole", sh("wc -c | tr -d ' '"), large, "1000000\n"},
		{"to a shell that reads lines", sh("read -r a; read -r b; echo \"$b $a\""), []byte("one\ntwo\n"), "two one\n"},
		{"also where nobody reads it", sh("echo fine"), large, "fine\n"},
		{"and none where there is none", sh("cat; echo end"), nil, "end\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := execx.Run(t.Context(), execx.Command{Argv: tt.argv, Stdin: tt.stdin, Timeout: patience})
			if got.Result != certmedic.RunExited || got.Stdout != tt.want {
				t.Errorf("%s %q, want %q", got.Result, got.Stdout, tt.want)
			}
		})
	}
}
