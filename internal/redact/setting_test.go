package redact_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/redact"
)

func TestURL(t *testing.T) {
	for _, tt := range []struct{ about, in, want string }{
		{"an address without secrets stays as it is", "https://sd.example.com:8443/targets", "https://sd.example.com:8443/targets"},
		{"user and password", "https://bob:hunter2@sd.example.com/", "https://xxxxx@sd.example.com/"},
		{"a token as the user", "https://hunter2@sd.example.com/", "https://xxxxx@sd.example.com/"},
		{"the values of a query", "https://h/x?token=hunter2&team=hunter2", "https://h/x?token=xxxxx&team=xxxxx"},
		{"a value with further signs", "https://h/?token=hunter2=;a=hunter2", "https://h/?token=xxxxx"},
		{"a query that is the secret", "https://h/?hunter2", "https://h/?xxxxx"},
		{"parameters without a value", "https://h/?a=&&b=", "https://h/?a=&&b="},
		{"what is hidden stays hidden", "https://xxxxx@h/?a=xxxxx&xxxxx", "https://xxxxx@h/?a=xxxxx&xxxxx"},
		{"a proxy", "socks5://bob:hunter2@proxy:1080", "socks5://xxxxx@proxy:1080"},
		{"no scheme", "bob:hunter2@proxy:1080", "xxxxx"},
		{"no slashes", "http:bob:hunter2@proxy", "xxxxx"},
		{"no URL", "https://bob:hunter2@h:port/", "xxxxx"},
		{"nothing", "", ""},
	} {
		if got := redact.URL(tt.in); got != tt.want {
			t.Errorf("%s: URL(%q) = %q, want %q", tt.about, tt.in, got, tt.want)
		}
	}
}

func TestPath(t *testing.T) {
	for _, tt := range []struct{ about, in, want string }{
		{"a path that is the secret", "https://bob:hunter2@h:1/services/T0/hunter2?a=hunter2", "https://xxxxx@h:1/xxxxx?a=xxxxx"},
		{"an escaped one", "https://h/hunter2%2Fhunter2", "https://h/xxxxx"},
		{"what is hidden stays hidden", "https://h/xxxxx", "https://h/xxxxx"},
		{"no path", "https://h", "https://h"},
		{"an empty one", "https://h/", "https://h/"},
		{"no URL", "https://h:port/hunter2", "xxxxx"},
		{"nothing", "", ""},
	} {
		if got := redact.Path(tt.in); got != tt.want {
			t.Errorf("%s: Path(%q) = %q, want %q", tt.about, tt.in, got, tt.want)
		}
	}
}

func TestHeaderAndSetting(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"Authorization", redact.Secret},
		{"X-Api-Key", redact.Secret},
		{"Cookie", redact.Secret},
		{"Accept", "value"},
		{"user-agent", "value"},
	} {
		if got := redact.Header(tt.name, "value"); got != tt.want {
			t.Errorf("Header(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := redact.Header("Cookie", "") + redact.Setting(""); got != "" {
		t.Errorf("nothing is shown as %q", got)
	}
	if got := redact.Setting("hunter2"); got != redact.Secret {
		t.Errorf("Setting = %q", got)
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{"https://bob:pw@h/?a=b&c", "bob:pw@h", "//h?x", "?&=", "http://[::1%25lo]/#x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		once := redact.URL(address)
		if u, err := url.Parse(once); err != nil {
			t.Errorf("%q is shown as %q: %v", address, once, err)
		} else if password, has := u.User.Password(); has {
			t.Errorf("%q is shown as %q, with the password %q", address, once, password)
		}
		if twice := redact.URL(once); twice != once {
			t.Errorf("%q, then %q", once, twice)
		}
		if strings.ContainsAny(once, "\x00\n\x1b") {
			t.Errorf("%q has control characters", once)
		}
	})
}
