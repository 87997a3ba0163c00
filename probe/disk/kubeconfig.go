package disk

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// kubeconfig is the part of a kubectl configuration that names certificates, in the form
// of k8s.io/client-go/tools/clientcmd/api/v1. Inline data wins over a file's name.
type kubeconfig struct {
	Kind     string `yaml:"kind"`
	Clusters []struct {
		Name    string `yaml:"name"`
		Cluster struct {
			CA     string `yaml:"certificate-authority"`
			CAData string `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string `yaml:"name"`
		User struct {
			Cert     string `yaml:"client-certificate"`
			CertData string `yaml:"client-certificate-data"`
			Key      string `yaml:"client-key"`
			KeyData  string `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// isKubeconfig reports whether a file looks like a kubectl configuration.
func isKubeconfig(data []byte) bool {
	for _, word := range []string{"apiVersion", "kind", "Config", "clusters", "users"} {
		if !bytes.Contains(data, []byte(word)) {
			return false
		}
	}
	return !bytes.Contains(data, []byte(pemBegin))
}

// parseKubeconfig decodes a kubectl configuration. Its errors name the line and quote
// nothing, since the lines hold keys.
func parseKubeconfig(data []byte) (kubeconfig, error) {
	var conf kubeconfig
	if len(data) > maxConfSize || tooDeep(data) {
		return conf, errors.New("a kubeconfig that is too large or nested too deeply")
	}
	if err := yaml.Unmarshal(data, &conf); err != nil {
		var located yaml.Error
		if errors.As(err, &located) && located.GetToken() != nil {
			return conf, fmt.Errorf("line %d: the kubeconfig is not valid YAML", located.GetToken().Position.Line)
		}
		return conf, errors.New("the kubeconfig is not valid YAML")
	}
	if conf.Kind != "Config" {
		return conf, errors.New("a YAML file that is no kubeconfig: its kind is not Config")
	}
	return conf, nil
}

// maxNesting is how many brackets may stand within each other in a YAML file. What the
// decoder needs for them grows faster than their number.
const maxNesting = 100

func tooDeep(data []byte) bool {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			if depth++; depth > maxNesting {
				return true
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return false
}

// kubeconfigItems returns an item for the CA of each cluster and for the certificate of
// each user.
func (r Reader) kubeconfigItems(at place, data []byte) []Item {
	conf, err := parseKubeconfig(data)
	if err != nil {
		b := r.begin(at)
		b.find(certmedic.FileUnreadable, "%s: %v", at.path, err)
		return []Item{b.item(at.path)}
	}
	var items []Item
	for _, c := range conf.Clusters {
		part := kubePart{cert: c.Cluster.CA, certData: c.Cluster.CAData, purpose: inspect.PurposeAuthority}
		items = r.appendKubeconfigItem(items, at, "clusters/"+c.Name, part)
	}
	for _, u := range conf.Users {
		part := kubePart{u.User.Cert, u.User.CertData, u.User.Key, u.User.KeyData, inspect.PurposeClient}
		items = r.appendKubeconfigItem(items, at, "users/"+u.Name, part)
	}
	if len(items) == 0 {
		b := r.begin(at)
		b.find(certmedic.NotACertificate, "%s: the kubeconfig holds and names no certificate", at.path)
		return []Item{b.item(at.path)}
	}
	return items
}

// kubePart is where one certificate of a kubeconfig is, its key, and what it is for.
type kubePart struct {
	cert, certData, key, keyData string
	purpose                      inspect.Purpose
}

func (r Reader) appendKubeconfigItem(items []Item, at place, name string, part kubePart) []Item {
	if part.cert == "" && part.certData == "" {
		return items
	}
	file := func(path string) string { // as kubectl does: from the folder of the kubeconfig
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(at.path), path)
	}
	target := at.path + "#" + name
	r.named = true
	if part.certData == "" && part.keyData == "" {
		src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: file(part.cert), Key: file(part.key)}
		item := Item{Target: target, Source: src, Content: r.Read(src, at.now)}
		item.Purpose = part.purpose
		return append(items, item)
	}
	b := r.begin(at)
	b.purpose = part.purpose
	switch {
	case part.certData != "":
		b.takeInline(target, part.certData)
	default:
		b.certs = b.readCerts(file(part.cert))
	}
	switch {
	case part.keyData != "":
		b.checkInlineKey(target, part.keyData, at.id)
	case part.key != "":
		b.checkKey(file(part.key))
	}
	b.arrange()
	return append(items, b.item(target))
}

// takeInline takes the certificates of a field that holds PEM in base64.
func (b *builder) takeInline(target, field string) {
	data, err := base64.StdEncoding.DecodeString(field)
	if err != nil {
		b.find(certmedic.NotACertificate, "%s: the data is not base64", target)
		return
	}
	certs, errs := b.parseCertificates(data)
	for _, err := range errs {
		b.find(certmedic.NotACertificate, "%s: %v", target, err)
	}
	b.certs = certs
}

func (b *builder) checkInlineKey(target, field string, id fileID) {
	b.stored.Files.Privkey = b.stored.Path
	b.checkKeyMode(b.stored.Path, id)
	data, err := base64.StdEncoding.DecodeString(field)
	var public crypto.PublicKey
	if err == nil {
		public, err = parseKey(data, b.passphrases)
		clear(data)
	}
	b.compareKey(target, public, err)
}
