package probe

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	tests := []struct{ text, address, protocol string }{
		{"shop.example.com", "shop.example.com:443", "tls"},
		{"Shop.Example.COM:8443", "shop.example.com:8443", "tls"},
		{"localhost:08443", "localhost:8443", "tls"},
		{"192.0.2.1", "192.0.2.1:443", "tls"},
		{"192.0.2.1:8443", "192.0.2.1:8443", "tls"},
		{"2001:db8::1", "[2001:db8::1]:443", "tls"},
		{"[2001:db8::1]", "[2001:db8::1]:443", "tls"},
		{"[2001:db8::1]:8443", "[2001:db8::1]:8443", "tls"},
		{"[fe80::1%eth0]:8443", "[fe80::1%eth0]:8443", "tls"},
		{"tls://shop.example.com", "shop.example.com:443", "tls"},
		{"HTTPS://shop.example.com/path?a=b", "shop.example.com:443", "https"},
		{"https://shop.example.com:8443/", "shop.example.com:8443", "https"},
		{"smtps://mail.example.com", "mail.example.com:465", "smtps"},
		{"ldaps://[2001:db8::1]", "[2001:db8::1]:636", "ldaps"},
		{"my_service.internal.", "my_service.internal.:443", "tls"},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.text)
		if err != nil || got.Address != tt.address || got.Protocol != tt.protocol {
			t.Errorf("%q is read as %q, %q, %v, want %q, %q", tt.text, got.Address, got.Protocol, err, tt.address, tt.protocol)
		}
	}
}

func TestParseTargetSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "host"},
		{"gopher://example.com", `protocol "gopher" is not supported`},
		{"://example.com", "no protocol"},
		{"example.com:0", "not between 1 and 65535"},
		{"example.com:65536", "not between 1 and 65535"},
		{"example.com:https", "not between 1 and 65535"},
		{"example.com:", "not between 1 and 65535"},
		{"2001:db8::1:443:x", "[address]:port"},
		{"a b", "not allowed"},
		{"a\nb", "not allowed"},
		{"b\xffcher.example", "UTF-8"},
		{"a..b", "label"},
		{"https://user:secret@example.com", "user name"},
		{"imaps://example.com/inbox", "takes no path"},
		{strings.Repeat("a.", 200) + "example", "254"},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q is read as %+v, %v, want an error with %q", tt.text, got, err, tt.want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"a", "a:1", "[::1]:1", "https://a/b", "::1", "[", "]:1", "a%b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		endpoint, err := ParseTarget(text)
		if err != nil {
			return
		}
		again, err := ParseTarget(endpoint.Protocol + "://" + endpoint.Address)
		if err != nil || again.Address != endpoint.Address || again.Protocol != endpoint.Protocol {
			t.Errorf("%q is read as %+v, which is read as %+v, %v", text, endpoint, again, err)
		}
	})
}

func TestParseOverride(t *testing.T) {
	tests := []struct{ text, key, address string }{
		{"Shop.example.com:443:192.0.2.1", "shop.example.com:443", "192.0.2.1"},
		{"shop.example.com:443:2001:db8::1", "shop.example.com:443", "2001:db8::1"},
		{"shop.example.com:443:[2001:db8::1]", "shop.example.com:443", "2001:db8::1"},
	}
	for _, tt := range tests {
		key, address, err := ParseOverride(tt.text)
		if err != nil || key != tt.key || address.String() != tt.address {
			t.Errorf("%q is read as %q, %s, %v", tt.text, key, address, err)
		}
	}
	for _, text := range []string{"", "a", "a:443", "a:443:b", "a:x:192.0.2.1", ":443:192.0.2.1", "a::192.0.2.1"} {
		if key, address, err := ParseOverride(text); err == nil {
			t.Errorf("%q is read as %q, %s, want an error", text, key, address)
		}
	}
}

func TestNoErrorShowsAPassword(t *testing.T) {
	for _, target := range []string{"https://user:secret@shop.example.com", "user:secret@shop.example.com:443", "smtp://us@er:secret@mail"} {
		if _, err := ParseTarget(target); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("the error is %v", err)
		}
	}
}
