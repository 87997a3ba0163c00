package web_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/person"
	"github.com/certmedic/certmedic/remediate/approval"
)

func (b *backend) Plans() []approval.Approval {
	return []approval.Approval{{ID: "bodig-rusam", Certificate: "shop", State: approval.Pending}}
}

func (b *backend) Say(_ context.Context, r api.WordRequest) (approval.Approval, error) {
	b.words = append(b.words, r)
	return approval.Approval{ID: r.ID, By: r.By}, b.fail
}

// post sends a body to the handler of the TCP listeners, as somebody who logged in.
func post(b *backend, user, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if user != "" {
		r.SetBasicAuth(user, "checked by what is in front")
	}
	w := httptest.NewRecorder()
	newServer(b, true).Public().ServeHTTP(w, r)
	return w
}

func TestAWordOverHTTPIsOfWhoLoggedIn(t *testing.T) {
	b := &backend{}
	for _, row := range []struct {
		about, user, body string
		code              int
		by                string // empty: nothing was said
	}{
		{"who logged in approves", "ada", `{"id":"bodig-rusam","reason":"looks good"}`, 200, "ada (login)"},
		{"nobody can say who they are", "ada", `{"id":"bodig-rusam","by":"bob"}`, 400, ""},
		{"nobody did log in", "", `{"id":"bodig-rusam"}`, 403, ""},
	} {
		b.words = nil
		w := post(b, row.user, "/api/v1/plans/approve", row.body)
		if w.Code != row.code || (len(b.words) == 1) != (row.by != "") {
			t.Errorf("%s: %d %s; said %+v", row.about, w.Code, w.Body, b.words)
			continue
		}
		if row.by != "" && (b.words[0].By != row.by || !b.words[0].Approve || b.words[0].Reason != "looks good") {
			t.Errorf("%s: said %+v", row.about, b.words[0])
		}
	}
}

func TestAWordOnTheSocketIsOfItsPeer(t *testing.T) {
	b := &backend{}
	client := api.NewClient(socket(t, b))
	plans, err := client.Plans(t.Context())
	if err != nil || len(plans) != 1 || plans[0].ID != "bodig-rusam" {
		t.Errorf("plans %+v, %v", plans, err)
	}
	for _, approve := range []bool{true, false} {
		b.words = nil
		said, err := client.Say(t.Context(), api.WordRequest{ID: "bodig-rusam", Approve: approve, By: "mallory"})
		if err != nil || len(b.words) != 1 || b.words[0].Approve != approve {
			t.Fatalf("said %+v, %v", b.words, err)
		}
		if want := person.OfProcess(os.Getpid(), os.Getuid()); b.words[0].By != want || said.By != want {
			t.Errorf("said by %q, want %q", b.words[0].By, want)
		}
	}
	b.fail = errors.New("plan bodig-rusam is void")
	if _, err := client.Say(t.Context(), api.WordRequest{ID: "x"}); err == nil || !strings.Contains(err.Error(), "is void") {
		t.Errorf("error %v", err)
	}
}
