package acm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/acmd"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/deploy/acm"
	"github.com/certmedic/certmedic/remediate/deploy/deploytest"
)

// cloud is a manager of certificates, and what is imported into it.
type cloud struct {
	acmd.Server
	url, credentials string
	ca               *mint.CA
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{ca: mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing"))}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.Close()
		for _, complaint := range c.Complaints() {
			t.Error(complaint)
		}
	})
	c.url = server.URL
	c.credentials = filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(c.credentials, []byte(acmd.Credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) pair(t *testing.T, kind mint.KeyType) mint.Pair {
	t.Helper()
	return mint.Must(c.ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, KeyType: kind}))
}

// to is the manager as a destination.
func (c *cloud) to(arn string) certmedic.ACM {
	return certmedic.ACM{Region: acmd.Region, ARN: arn, Endpoint: c.url, CredentialsFile: c.credentials}
}

// bring imports a version.
func bring(t *testing.T, to certmedic.ACM, pair mint.Pair, token uint64) (string, error) {
	t.Helper()
	order := deploytest.Order(t, "shop", pair.Chain, mint.Must(pair.KeyPEM()))
	order.Token = token
	request, err := json.Marshal(acm.Request{Order: order, To: to})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = acm.Run(t.Context(), request, &out)
	deploytest.NoKey(t, mint.Must(pair.KeyPEM()), string(request), out.String(), fmt.Sprint(err))
	return out.String(), err
}

// wantThere checks that a version is what ACM has, in so many imports.
func (c *cloud) wantThere(t *testing.T, at int, pair mint.Pair, imports int) acmd.Certificate {
	t.Helper()
	all := c.Certificates()
	if len(all) != at+1 {
		t.Fatalf("there are %d certificates, want %d", len(all), at+1)
	}
	if there := all[at]; string(there.Leaf) != string(pair.CertPEM()) || string(there.Chain) != string(pair.ChainPEM()) || there.Imports != imports {
		t.Errorf("after %d imports, want %d, ACM has\n%s%s", there.Imports, imports, there.Leaf, there.Chain)
	}
	return all[at]
}

// TestImportIsFoundAgain shows that a version without an ARN is imported once, that the next one
// takes its place, and that what is there is not imported again.
func TestImportIsFoundAgain(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	other := c.pair(t, mint.RSA2048)
	for range 4 { // of more than one page, and not all of them listed where nobody asks for all
		c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: other.CertPEM(), Tags: map[string]string{"certmedic": "blog"}})
	}
	first, second := c.pair(t, mint.EC384), c.pair(t, mint.EC384)
	to := c.to("")
	to.Tags = map[string]string{"team": "payments"}
	out, err := bring(t, to, first, 0)
	if err != nil || !strings.HasPrefix(out, "imported: arn:") || !strings.Contains(out, "in use by nothing") {
		t.Fatalf("the first version: %q, %v", out, err)
	}
	there := c.wantThere(t, 4, first, 1)
	if fmt.Sprint(there.Tags) != "map[certmedic:shop team:payments]" {
		t.Errorf("its tags are %v", there.Tags)
	}
	for _, row := range []struct {
		about   string
		pair    mint.Pair
		did     string
		imports int
	}{{"the same version", first, "already there: ", 1}, {"the next version", second, "imported: ", 2}, {"the version before", first, "imported: ", 3}} {
		if out, err = bring(t, to, row.pair, 0); err != nil || !strings.HasPrefix(out, row.did) {
			t.Errorf("%s: %q, %v", row.about, out, err)
		}
		c.wantThere(t, 4, row.pair, row.imports)
	}
	c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: other.CertPEM(), Tags: map[string]string{"certmedic": "shop"}})
	if _, err := bring(t, to, second, 0); err == nil || !strings.Contains(err.Error(), "several have the tag") {
		t.Errorf("with two of the same tag: %v", err)
	}
}

// TestImportByARN shows that the certificate of an ARN is replaced, keeps its tags, and says who
// uses it.
func TestImportByARN(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	before, after := c.pair(t, mint.EC256), c.pair(t, mint.EC256)
	balancer := "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/shop/50dc6c495c0c9188"
	arn := c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: before.CertPEM(), Chain: before.ChainPEM(), InUseBy: []string{balancer}, Tags: map[string]string{"owner": "ops"}})
	out, err := bring(t, c.to(arn), after, 0)
	if err != nil || !strings.Contains(out, arn) || !strings.Contains(out, "in use by "+balancer) {
		t.Errorf("%q, %v", out, err)
	}
	if there := c.wantThere(t, 0, after, 1); fmt.Sprint(there.Tags) != "map[owner:ops]" || there.Retouched {
		t.Errorf("its tags are %v", there.Tags)
	}
}

// TestRefused shows what is not imported, and that the error says why.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	pair := c.pair(t, mint.EC256)
	issued := c.Add(acmd.Certificate{Type: "AMAZON_ISSUED", Leaf: pair.CertPEM()})
	rsa := c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: c.pair(t, mint.RSA2048).CertPEM()})
	open := c.to(issued)
	open.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(open.CredentialsFile, []byte(acmd.Credentials), 0o644); err != nil {
		t.Fatal(err)
	}
	stranger := c.to(issued)
	stranger.Profile = "other"
	for _, row := range []struct {
		about string
		to    certmedic.ACM
		pair  mint.Pair
		want  string
	}{
		{"a certificate that ACM renews itself", c.to(issued), pair, "was not imported"},
		{"a key of another type than the one that is there", c.to(rsa), pair, "the key there is RSA_2048 and this one EC_prime256v1"},
		{"a key of a type that ACM does not know", c.to(""), c.pair(t, mint.Ed25519), "ACM takes keys of RSA"},
		{"an ARN of nothing", c.to(strings.Replace(issued, "0001", "9999", 1)), pair, "ResourceNotFoundException"},
		{"credentials that others may read", open, pair, "may be read by others"},
		{"a profile that is not in the file", stranger, pair, "under [other]"},
	} {
		if _, err := bring(t, row.to, row.pair, 0); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
	for _, there := range c.Certificates() {
		if there.Imports > 0 {
			t.Errorf("%q was imported", there.ARN)
		}
	}
	if err := acm.Run(t.Context(), []byte("{"), &strings.Builder{}); err == nil {
		t.Error("a request that is cut off is taken")
	}
}

// TestLostAnswers shows that throttled requests are made again, and that no second certificate is
// made where the answer to the import of a new one was lost.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	pair := c.pair(t, mint.EC256)
	c.Behave = func(w http.ResponseWriter, operation string, before int) bool {
		switch {
		case before > 0:
		case operation == "ListCertificates":
			acmd.Refuse(w, http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
			return true
		case operation == "DescribeCertificate":
			acmd.Refuse(w, http.StatusInternalServerError, "InternalServerException", "try again")
			return true
		case operation == "ImportCertificate": // it is carried out, and nobody hears of it
			c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: pair.CertPEM(), Chain: pair.ChainPEM(), Tags: map[string]string{"certmedic": "shop"}, Imports: 1})
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true
		}
		return false
	}
	if out, err := bring(t, c.to(""), pair, 0); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	c.wantThere(t, 0, pair, 1)
	if n := c.Asked("ImportCertificate"); n != 1 {
		t.Errorf("it was imported %d times", n)
	}
}

// TestOtherThanImported shows that what ACM shows counts, and not what it answered.
func TestOtherThanImported(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	pair := c.pair(t, mint.EC256)
	other := c.pair(t, mint.EC256)
	arn := c.Add(acmd.Certificate{Type: "IMPORTED", Leaf: pair.CertPEM()})
	c.Behave = func(w http.ResponseWriter, operation string, _ int) bool {
		if operation == "ImportCertificate" {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			fmt.Fprintf(w, `{"CertificateArn":%q}`, arn)
			return true
		}
		return false
	}
	request, err := json.Marshal(acm.Request{Order: deploytest.Order(t, "shop", other.Chain, mint.Must(other.KeyPEM())), To: c.to(arn)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := acm.Run(ctx, request, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "ACM shows another certificate") {
		t.Errorf("%v", err)
	}
}

// TestTokens shows that what was imported under a higher token stays.
func TestTokens(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	first, second := c.pair(t, mint.EC256), c.pair(t, mint.EC256)
	for _, row := range []struct {
		about string
		token uint64
		pair  mint.Pair
		want  string
	}{{"the first", 7, first, ""}, {"a higher one", 9, second, ""}, {"a lower one", 8, first, "under token 9"}, {"the same", 9, second, ""}} {
		_, err := bring(t, c.to(""), row.pair, row.token)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
	if there := c.wantThere(t, 0, second, 2); there.Tags["certmedic-token"] != "9" {
		t.Errorf("its tags are %v", there.Tags)
	}
}

func TestCheckARN(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws:acm:eu-central-1:123456789012:certificate/1-2":    "",
		"arn:aws-cn:acm:eu-central-1:123456789012:certificate/1-2": "",
		"arn:aws:acm:us-east-1:123456789012:certificate/1-2":       "in the region us-east-1",
		"arn:aws:iam::123456789012:server-certificate/shop":        "no ARN",
		"arn:aws:acm:eu-central-1:1:certificate/1 2":               "no ARN",
		"": "no ARN",
	} {
		if err := acm.CheckARN(arn, "eu-central-1"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", arn, err, want)
		}
	}
}
