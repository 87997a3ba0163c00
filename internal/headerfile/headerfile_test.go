package headerfile_test

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/headerfile"
)

func TestRead(t *testing.T) {
	tests := []struct {
		name, file string
		want       http.Header
		err        string
	}{
		{"lines, blanks, comments and repeated names", "# key\nX-Key:  a: b \r\n\nx-key: c\n", http.Header{"X-Key": {"a: b", "c"}}, ""},
		{"an empty file", "", http.Header{}, ""},
		{"a line without a colon is named, its text is not", "X: 1\ns3cr3t\n", nil, ":2: want"},
		{"a name with a blank", "X Y: s3cr3t", nil, ":1: want"},
		{"a control character in the value", "X: s3cr3t\x00", nil, ":1: want"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "headers")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := headerfile.Read(path)
			if tt.err == "" && (err != nil || !reflect.DeepEqual(got, tt.want)) {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cr3t")) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
