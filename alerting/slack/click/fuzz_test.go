package click_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/certmedic/certmedic/alerting/slack/click"
)

// FuzzParse shows that whatever a payload says, the person is named in one short line of text.
func FuzzParse(f *testing.F) {
	f.Add([]byte(pressed))
	f.Add([]byte(strings.Replace(pressed, `"ada"`, `"\u2028\u202e\u0000<!here>"`, 1)))
	f.Add([]byte(`{"type":"block_actions","actions":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := click.Parse(data)
		if err != nil {
			return
		}
		who := c.Person()
		if strings.ContainsAny(who, "\n\r\x00\x1b\u2028\u202e") || !utf8.ValidString(who) || utf8.RuneCountInString(who) > 150 || c.ID == "" {
			t.Errorf("named %q, ID %q", who, c.ID)
		}
	})
}
