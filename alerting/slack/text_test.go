package slack

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"ordinary text stays", "shop.example.com: bücher, 証明書 🔒", "shop.example.com: bücher, 証明書 🔒"},
		{"markup is only text here", "<!channel> *a* `b`", "<!channel> *a* `b`"},
		{"lines stay, tabs become blanks", "a\tb\nc", "a b\nc"},
		{"terminal escapes lose what makes them so", "a\x1b[31mb\x00", "a[31mb"},
		{"nothing joins or hides", "a\u200bb\u200dc\ufeffd\u00ade", "abcde"},
		{"nothing reorders", "gro.\u202eevil", "gro.evil"},
		{"what is no text is marked", "a\xffb", "a\ufffdb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := plain(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFit(t *testing.T) {
	tests := []struct {
		name, in string
		most     int
		want     string
	}{
		{"what fits is whole", "shop", 4, "shop"},
		{"what does not ends with an ellipsis", "shops", 4, "sho…"},
		{"an escape is counted in full", "a&b", 7, "a&amp;b"},
		{"an escape is never cut", "a&b", 6, "a…"},
		{"nor is a character of two units", "a🔒b", 3, "a…"},
		{"it fits by units", "a🔒b", 4, "a🔒b"},
		{"nearly nothing", "shop", 1, "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fit(tt.in, tt.most); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPack(t *testing.T) {
	tests := []struct {
		name  string
		names []string
		most  int
		want  string
	}{
		{"none", nil, 10, ""},
		{"as many as fit", []string{"a", "bb", "cc"}, 5, "a, bb|cc"},
		{"a name that is too long goes on", []string{"a", "bbbbbbb"}, 3, "a|bbb|bbb|b"},
		{"and others follow it", []string{"bbbb", "c"}, 4, "bbbb|c"},
		{"escapes are counted", []string{"<", ">"}, 9, "<|>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(pack(tt.names, tt.most), "|"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLink(t *testing.T) {
	tests := []struct{ name, address, want string }{
		{"an address", "https://example.com/a", "<https://example.com/a|L>"},
		{"a query", "https://example.com/?a=1&b=2", "<https://example.com/?a=1&amp;b=2|L>"},
		{"an end of the link in it", "https://example.com/?a=>|<!channel>", "<https://example.com/?a=%3E%7C%3C!channel%3E|L>"},
		{"another scheme", "javascript:alert(1)", ""},
		{"no host", "https:///a", ""},
		{"no address", "renewed-not-served", ""},
		{"too long", "https://example.com/" + strings.Repeat("a", maxLink), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := link(tt.address, "L"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	tests := []struct{ name, step, kind, want string }{
		{"a time", "notify at 2026-03-01T10:00:00Z", "mrkdwn", "notify at <!date^1772359200^{date_short_pretty} at {time}|2026-03-01 10:00 UTC>"},
		{"no time", "redeploy once its condition holds", "mrkdwn", "redeploy once its condition holds"},
		{"what looks like a time", "notify at 2026-99-99T10:00:00Z", "mrkdwn", "notify at 2026-99-99T10:00:00Z"},
		{"what could be markup", "notify <!channel> *now*", "plain_text", "notify &lt;!channel&gt; *now*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := next(tt.step, 300); got.Type != tt.kind || got.Text != tt.want {
				t.Errorf("got %s %q, want %s %q", got.Type, got.Text, tt.kind, tt.want)
			}
		})
	}
}

func TestLasted(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 59 * time.Second: "59 s", time.Hour - 1: "59 min", 2*time.Hour + 5*time.Minute: "2 h 5 min", 72 * time.Hour: "3 days",
	} {
		if got := lasted(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// Sixty seconds never see more calls than a tier has, however eager somebody is.
func TestTiers(t *testing.T) {
	for method, most := range map[string]int{methodUpdate: 50, methodReplies: 50, methodList: 20, methodPost: 60} {
		l, now := NewLimits(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		var calls []time.Time
		for end := now.Add(10 * time.Minute); now.Before(end); {
			wait := l.take(method, "C1", now)
			if wait == 0 {
				calls = append(calls, now)
				wait = time.Millisecond
			}
			if wait > 4*time.Second {
				t.Fatalf("%s: it waits %v", method, wait)
			}
			now = now.Add(wait)
		}
		for i, from := range calls {
			n := 0
			for _, at := range calls[i:] {
				if at.Sub(from) < time.Minute {
					n++
				}
			}
			if n > most {
				t.Fatalf("%s: %d calls within a minute", method, n)
			}
		}
		if want := 10 * most * 7 / 10; len(calls) < want {
			t.Errorf("%s: %d calls in ten minutes, want %d at least", method, len(calls), want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "shop", "<!channel> <@U1> <https://a|b>", "&lt;!here&gt;", "``` code", "🔒🔒🔒", "\u202e\u200b\x1b[1m", "a\xff\xfe", strings.Repeat("&", 3000), "日本" + strings.Repeat("\u0301", 50),
	} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = 2 + (most&0x7fffffff)%4000 // no text is so short that a character has no room
		got := fit(s, most)
		switch {
		case !utf8.ValidString(got):
			t.Errorf("a character was split: %q", got)
		case length(got) > most:
			t.Errorf("%d characters, at most %d: %q", length(got), most, got)
		case strings.ContainsAny(unescaped(got), "&<>"):
			t.Errorf("not escaped: %q", got)
		case strings.ContainsFunc(got, func(r rune) bool { return unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\n' }):
			t.Errorf("something cannot be seen: %q", got)
		}
		most = max(most, 6)
		names := strings.Split(s, ",")
		packed, want := "", ""
		for _, text := range pack(names, most) {
			if escapedLength(text) > most {
				t.Errorf("%d characters, at most %d", escapedLength(text), most)
			}
			packed += text
		}
		for _, name := range names {
			want += oneLine(name)
		}
		joints := strings.NewReplacer(",", "", " ", "")
		if joints.Replace(packed) != joints.Replace(want) {
			t.Errorf("names got lost:\n%q\n%q", packed, want)
		}
	})
}

// unescaped removes the escapes, whatever they stand for.
func unescaped(s string) string {
	return strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(s)
}
