package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
)

// Shared is a source of versions that a certmedic elsewhere publishes.
type Shared struct {
	Dir  string  `yaml:"dir,omitempty" form:"path" doc:"The folder that they are published in, such as one on NFS."`
	S3   *Bucket `yaml:"s3,omitempty" doc:"The bucket that they are published in."`
	Name string  `yaml:"name,omitempty" doc:"The name under which they are published. Absent: that of the certificate."`

	IdentityFile   string `yaml:"identity_file,omitempty" form:"path" doc:"A file with the age identity (AGE-SECRET-KEY-1...) that opens the private key. Others may not read it."`
	PassphraseFile string `yaml:"passphrase_file,omitempty" form:"path" doc:"A file with the passphrase that opens the private key, where it was published with one. Others may not read it."`
	Plaintext      bool   `yaml:"plaintext,omitempty" doc:"Whether the private key is published in plaintext."`

	KeysFile string        `yaml:"keys_file,omitempty" form:"path" doc:"A PEM file with the public Ed25519 keys of those who may publish. Absent: whoever can write to the store is believed."`
	Interval time.Duration `yaml:"interval" doc:"How often it is looked whether there is a new version."`
	_        struct{}      `oneof:"dir s3"`
}

// Publish says where the versions of a certificate are published, for hosts with the source shared and for
// the other members of the cluster.
type Publish struct {
	Dir  string  `yaml:"dir,omitempty" form:"path" doc:"A folder that others have mounted, too, such as one on NFS; it is there already."`
	S3   *Bucket `yaml:"s3,omitempty" doc:"A bucket of Amazon S3, or of a store that has its conditional writes, which is proven at each start."`
	Name string  `yaml:"name,omitempty" doc:"The name to publish it under. Absent: that of the certificate."`

	Recipients     []string `yaml:"recipients,omitempty" doc:"Those who can open the private key, each by the public key of an age identity (age1...)."`
	PassphraseFile string   `yaml:"passphrase_file,omitempty" form:"path" doc:"A file with the passphrase to encrypt the private key with. Others may not read it."`
	Plaintext      bool     `yaml:"plaintext,omitempty" doc:"Whether the private key is published as it is, for all who can read the store."`

	SignKeyFile string `yaml:"sign_key_file,omitempty" form:"path" doc:"A PEM file with the private Ed25519 key (PKCS #8) that signs what is published. Others may not read it. Absent: it is not signed."`
	Keep        int    `yaml:"keep" doc:"How many publications stay, from 2 to 1000."`

	IdentityFile string        `yaml:"identity_file,omitempty" form:"path" doc:"In a cluster with recipients: a file with the age identity of this member, which is one of them, to follow what another member publishes, and to go on with an order that it placed. Others may not read it."`
	KeysFile     string        `yaml:"keys_file,omitempty" form:"path" doc:"In a cluster: a PEM file with the public Ed25519 keys of all members that publish. Absent: that of sign_key_file."`
	Interval     time.Duration `yaml:"interval" doc:"In a cluster: how often a member that does not act looks whether another one published."`
	_            struct{}      `oneof:"dir s3"`
}

// The bounds of what is shared.
const (
	minShareInterval = time.Second
	maxShareInterval = 24 * time.Hour
	minPublished     = 2
	maxPublished     = 1000
)

func (s *Shared) setDefaults() { s.Interval = time.Minute }

func (p *Publish) setDefaults() { p.Keep, p.Interval = 10, time.Minute }

// SharedFolder returns the folder that versions are brought into which were published elsewhere.
func (c *Config) SharedFolder(certificate string) string {
	return filepath.Join(c.StateDir, "shared", certificate)
}

// PublishedName returns the name under which a certificate is published, or was.
func (c Certificate) PublishedName() string {
	name := ""
	switch {
	case c.Publish != nil:
		name = c.Publish.Name
	case c.Source.Shared != nil:
		name = c.Source.Shared.Name
	}
	if name == "" {
		return c.Name
	}
	return name
}

func (v *validator) shared(key string, s *Shared) {
	v.sharedStore(key, s.Dir, s.S3, s.Interval)
	v.publishedName(key+".name", s.Name)
	v.path(key+".identity_file", s.IdentityFile)
	v.path(key+".passphrase_file", s.PassphraseFile)
	v.path(key+".keys_file", s.KeysFile)
	if ways := chosen(s.IdentityFile != "", s.PassphraseFile != "", s.Plaintext); ways != 1 {
		v.errorf(key, "needs one of identity_file, passphrase_file and plaintext, which opens the private key")
	}
}

// published checks what is published: no two certificates may share a name in the same store.
func (v *validator) published(c *Config) {
	seen := map[string]string{}
	for i, cert := range c.Certificates {
		p, key := cert.Publish, fmt.Sprintf("certificates[%d].publish", i)
		if p == nil {
			continue
		}
		v.publish(key, cert, c.Cluster)
		place := p.Dir + "\x00" + cert.PublishedName()
		if p.S3 != nil {
			place = strings.Join([]string{string(p.S3.Endpoint), p.S3.Region, p.S3.Bucket, p.S3.Prefix, cert.PublishedName()}, "\x00")
		}
		if first, twice := seen[place]; twice {
			v.errorf(key, "%q is published there by %s in line %d already", cert.PublishedName(), first, v.positions.of(first).Line)
			continue
		}
		seen[place] = key
	}
}

// publish checks where and how a certificate is published.
func (v *validator) publish(key string, c Certificate, cluster *Cluster) {
	p := c.Publish
	v.sharedStore(key, p.Dir, p.S3, p.Interval)
	v.publishedName(key+".name", p.Name)
	v.path(key+".passphrase_file", p.PassphraseFile)
	v.path(key+".sign_key_file", p.SignKeyFile)
	v.path(key+".identity_file", p.IdentityFile)
	v.path(key+".keys_file", p.KeysFile)
	v.between(key+".keep", p.Keep, minPublished, maxPublished)
	if ways := chosen(len(p.Recipients) > 0, p.PassphraseFile != "", p.Plaintext); ways != 1 {
		v.errorf(key, "needs one of recipients, passphrase_file and plaintext, which says how the private key is stored")
	}
	v.recipients(key+".recipients", p.Recipients)
	switch files := c.Source.Files; {
	case c.Source.Shared != nil:
		v.errorf(key, "the versions of a shared source are published elsewhere")
	case files != nil && files.PassphraseFile != "":
		v.errorf(key, "a key in a keystore, or with a passphrase, cannot be published")
	case files != nil && files.Key == "":
		v.errorf(key, "source.files needs a key: without it there is nothing to publish")
	}
	switch {
	case p.IdentityFile != "" && len(p.Recipients) == 0:
		v.errorf(key+".identity_file", "is for what is encrypted for recipients")
	case p.IdentityFile == "" && len(p.Recipients) > 0 && cluster != nil && c.Source.ACME != nil:
		v.warnf(key+".identity_file", "is absent: this member cannot follow what another one publishes, nor go on with an order that it placed")
	}
}

// sharedStore checks where it is shared.
func (v *validator) sharedStore(key, dir string, bucket *Bucket, interval time.Duration) {
	v.path(key+".dir", dir)
	if bucket != nil {
		v.bucket(key+".s3", *bucket)
	}
	if interval < minShareInterval || interval > maxShareInterval {
		v.errorf(key+".interval", "must be between %s and %s, not %s", minShareInterval, maxShareInterval, interval)
	}
}

func (v *validator) publishedName(key, name string) {
	if name != "" && !isName(name) {
		v.errorf(key, "%q is no name: it is made of letters, digits and . _ * -", name)
	}
}

// recipients checks the public keys of identities. What is none is not quoted: it may be a secret one.
func (v *validator) recipients(key string, all []string) {
	for i, text := range all {
		if parsed, err := age.ParseRecipients(strings.NewReader(text)); err != nil || len(parsed) != 1 {
			v.errorf(fmt.Sprintf("%s[%d]", key, i), "is no public key of an age identity (age1...)")
		}
	}
}

// chosen counts the ways that were chosen.
func chosen(ways ...bool) (n int) {
	for _, way := range ways {
		if way {
			n++
		}
	}
	return n
}

// shared looks at the files that a shared source, or publishing, needs. A folder on a network file system may
// come later.
func (f *fileChecker) shared(key string, c Certificate) {
	if s := c.Source.Shared; s != nil {
		key := key + ".source.shared"
		f.secret(key+".identity_file", s.IdentityFile)
		f.secret(key+".passphrase_file", s.PassphraseFile)
		f.unchanged(key+".keys_file", s.KeysFile)
		if s.S3 != nil {
			f.bucket(key+".s3", *s.S3)
		}
	}
	if p := c.Publish; p != nil {
		key := key + ".publish"
		f.secret(key+".passphrase_file", p.PassphraseFile)
		f.secret(key+".sign_key_file", p.SignKeyFile)
		f.secret(key+".identity_file", p.IdentityFile)
		f.unchanged(key+".keys_file", p.KeysFile)
		if p.S3 != nil {
			f.bucket(key+".s3", *p.S3)
		}
	}
}
