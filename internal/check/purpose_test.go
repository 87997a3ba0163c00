package check

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// TestFilesAreJudgedForWhatTheyAreFor checks files that are sound for one purpose and would
// be refused for another.
func TestFilesAreJudgedForWhatTheyAreFor(t *testing.T) {
	l := newLab(t)
	l.checker.Name = ""
	now := time.Now()
	cluster := certtest.Issue(t, nil, certtest.CA("cluster", now), nil)
	clients := certtest.Issue(t, nil, certtest.CA("clients", now), nil)
	user := func(ends int) string {
		template := certtest.Server(now)
		template.Subject = pkix.Name{CommonName: "admin"}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		template.NotAfter = now.AddDate(0, 0, ends)
		return l.file("kubeconfig", kubeconfig(cluster, certtest.Issue(t, clients, template, nil)))
	}
	old := certtest.Server(now, shop)
	old.NotAfter = now.AddDate(0, 0, -1)
	expired := certtest.Issue(t, clients, old, nil)
	bundle := l.file("bundle.pem", slices.Concat(inPEM(clients), inPEM(expired)))
	for _, row := range []struct {
		about, path string
		ownRoots    bool
		want        []certmedic.FindingCode
	}{
		{"a kubeconfig", user(60), false, nil},
		{"a kubeconfig whose user ends soon", user(2), false, []certmedic.FindingCode{certmedic.Expiring}},
		{"a kubeconfig, with roots that are not its own", user(60), true, []certmedic.FindingCode{certmedic.IncompleteChain}},
		{"an authority", l.file("ca.crt", inPEM(cluster)), false, nil},
		{"several authorities", l.file("ca.crt", slices.Concat(inPEM(cluster), inPEM(clients))), true, nil},
		{"an expired leaf behind its authority", bundle, false, []certmedic.FindingCode{certmedic.ChainOrder, certmedic.Expired, certmedic.Untrusted}},
	} {
		l.checker.OwnRoots = row.ownRoots
		var found []certmedic.FindingCode
		for _, r := range l.checker.Check(t.Context(), row.path) {
			found = append(found, codes(r)...)
		}
		if !slices.Equal(found, row.want) {
			t.Errorf("%s: findings are %v, want %v", row.about, found, row.want)
		}
	}
	l.checker.Name = shop
	if r := l.one(l.file("ca.crt", inPEM(cluster))); !slices.Contains(codes(r), certmedic.NameMismatch) {
		t.Errorf("an authority that is asked for a name: %v", codes(r))
	}
}

// TestWhichOfManyIsToldSaysItsName holds that a detail names the authority that it is about.
func TestWhichOfManyIsToldSaysItsName(t *testing.T) {
	l := newLab(t)
	l.checker.Name, l.checker.Crit = "", inspect.Threshold{}
	now := time.Now()
	ending := certtest.CA("ending", now)
	ending.NotAfter = now.AddDate(0, 0, 1)
	path := l.file("cas.pem", slices.Concat(inPEM(certtest.Issue(t, nil, certtest.CA("lasting", now), nil)), inPEM(certtest.Issue(t, nil, ending, nil))))
	found := l.one(path).Addresses[0].Findings
	if len(found) != 1 || found[0].Detail[:len(`"ending": expires in`)] != `"ending": expires in` {
		t.Errorf("findings are %v", found)
	}
}

func inPEM(p *certtest.Pair) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw})
}

func kubeconfig(ca, user *certtest.Pair) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return []byte("apiVersion: v1\nkind: Config\n" +
		"clusters: [{name: prod, cluster: {certificate-authority-data: " + b64(inPEM(ca)) + "}}]\n" +
		"users: [{name: admin, user: {client-certificate-data: " + b64(inPEM(user)) + "}}]\n")
}
