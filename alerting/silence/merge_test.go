package silence_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/silence"
)

type kept map[string]silence.Silence

func (k kept) Silences() ([]silence.Silence, error) { return nil, nil }
func (k kept) SaveSilence(s silence.Silence) error  { k[s.ID] = s; return nil }
func (k kept) ForgetSilence(id string) error        { delete(k, id); return nil }
func labels(certificate string) func(string) string {
	return func(name string) string {
		if name == "certificate" {
			return certificate
		}
		return ""
	}
}

// TestMembersHaveTheSameSilences has two books say to each other what they know, in either order.
func TestMembersHaveTheSameSilences(t *testing.T) {
	now := time.Now()
	stores := []kept{{}, {}}
	var books []*silence.Book
	for _, s := range stores {
		b, err := silence.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		books = append(books, b)
	}
	share := func() {
		t.Helper()
		for range 2 {
			for i, b := range books {
				if err := b.Merge(books[1-i].Shared(now), now); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	m, err := silence.ParseMatcher("certificate=~sh.*")
	if err != nil {
		t.Fatal(err)
	}
	one, err := books[0].Add(silence.Silence{Matchers: []silence.Matcher{m}, By: "ada", Why: "work", Until: now.Add(time.Hour), UntilRenewed: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	share()
	if !books[1].Silenced(now, labels("shop")) || books[1].Silenced(now, labels("blog")) || stores[1][one.ID].By != "ada" {
		t.Error("a silence of one member does not hold for the other one")
	}
	if _, err := books[1].Renewed("shop", labels("shop"), now); err != nil {
		t.Fatal(err)
	}
	share()
	if books[0].Silenced(now, labels("shop")) || !books[0].Silenced(now, labels("shoes")) {
		t.Error("that it ended for one certificate is not known to the other member")
	}
	if _, err := books[1].End(one.ID, "bob", now); err != nil {
		t.Fatal(err)
	}
	share()
	if books[0].Silenced(now, labels("shoes")) || stores[0][one.ID].EndedBy != "bob" {
		t.Error("its end is not known to the other member")
	}
	if all := books[0].Shared(now.Add(2 * time.Hour)); len(all) > 0 {
		t.Errorf("what is over is shared: %+v", all)
	}
}
