package config

import (
	"fmt"
	"strings"
	"time"
)

// Cluster says which other certmedics look after the same certificates, and where they agree on who acts.
type Cluster struct {
	Member    string        `yaml:"member" required:"true" doc:"The name of this member, unique in the cluster, of letters, digits and the signs . _ * and -."`
	Lease     time.Duration `yaml:"lease" doc:"How long a member that died is waited for before another one acts for its certificates, in whole seconds, from 2s to 10m. In a bucket each certificate costs a write every third of it."`
	Shard     bool          `yaml:"shard,omitempty" doc:"Whether the members share out what is watched, so that each certificate and each entry of watch is probed by one of them. Without it every member probes everything."`
	Emergency Share         `yaml:"emergency" doc:"While the coordinator cannot be asked nothing is renewed, until less than this share of the life of what is stored is left. Then members do so after each other, 10 minutes apart, or 1% of that life where it is less."`

	Address      URL    `yaml:"address,omitempty" form:"url" doc:"The address of this member's own page as the other members reach it, such as http://10.0.0.1:9879, for the view of the whole fleet. Absent: this member is not in it."`
	CAFile       string `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that the pages of other members are verified against. Absent: those of the system."`
	Username     string `yaml:"username,omitempty" doc:"The user by whose login the pages of other members are asked, where they want one."`
	PasswordFile string `yaml:"password_file,omitempty" form:"path" doc:"A file with the password of username. Others may not read it."`

	Etcd *Etcd      `yaml:"etcd,omitempty" doc:"An etcd cluster: the coordinator to choose where there is one."`
	Dir  *SharedDir `yaml:"dir,omitempty" doc:"A folder that all members have mounted: the last resort."`
	S3   *Bucket    `yaml:"s3,omitempty" doc:"A bucket of Amazon S3, or of a store that has its conditional writes, which is proven at each start."`
	_    struct{}   `oneof:"etcd dir s3"`
}

// Etcd is an etcd cluster.
type Etcd struct {
	Endpoints    []string `yaml:"endpoints" required:"true" doc:"The URLs of its members, http or https, all alike."`
	Prefix       string   `yaml:"prefix" doc:"What all keys begin with."`
	CAFile       string   `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that its members are verified against. Absent: those of the system."`
	CertFile     string   `yaml:"cert_file,omitempty" form:"path" doc:"A PEM file with the client certificate to present."`
	KeyFile      string   `yaml:"key_file,omitempty" form:"path" doc:"A PEM file with the private key of cert_file. Others may not read it."`
	Username     string   `yaml:"username,omitempty" doc:"The user, where it asks for one."`
	PasswordFile string   `yaml:"password_file,omitempty" form:"path" doc:"A file with the password of username. Others may not read it."`
}

// SharedDir is a folder that several hosts have mounted.
type SharedDir struct {
	Path string `yaml:"path" required:"true" form:"path" doc:"The folder, for certmedic alone and there already; others than its owner and root may not write into it."`
}

// Bucket is a bucket of a store that speaks the protocol of Amazon S3.
type Bucket struct {
	Endpoint        URL    `yaml:"endpoint,omitempty" form:"url" doc:"The URL of the store. Absent: Amazon's, in the region."`
	Region          string `yaml:"region" doc:"The region."`
	Bucket          string `yaml:"bucket" required:"true" doc:"The name of the bucket."`
	Prefix          string `yaml:"prefix" doc:"What all keys begin with, such as certmedic/."`
	CredentialsFile string `yaml:"credentials_file,omitempty" form:"path" doc:"A file with aws_access_key_id and aws_secret_access_key under [default]. Others may not read it. Absent: what the host is given by its surroundings, such as the role of an instance."`
	CAFile          string `yaml:"ca_file,omitempty" form:"path" doc:"A PEM file with the roots that the store is verified against. Absent: those of the system."`
	VirtualHosts    bool   `yaml:"virtual_hosts,omitempty" doc:"With endpoint: whether the bucket is a part of the host's name, and not of the path."`
}

func (c *Cluster) setDefaults() { c.Lease, c.Emergency = 10*time.Second, "5%" }

func (e *Etcd) setDefaults() { e.Prefix = "/certmedic" }

func (b *Bucket) setDefaults() { b.Region, b.Prefix = "us-east-1", "certmedic/" }

// The bounds of a lease, and of a member's name.
const (
	minLease  = 2 * time.Second
	maxLease  = 10 * time.Minute
	maxMember = 100
)

func (v *validator) cluster(c *Cluster) {
	if c == nil {
		return
	}
	if !isName(c.Member) || len(c.Member) > maxMember {
		v.errorf("cluster.member", "%.80q is no name: it is made of letters, digits and . _ * -, at most %d", c.Member, maxMember)
	}
	if c.Lease < minLease || c.Lease > maxLease || c.Lease%time.Second != 0 {
		v.errorf("cluster.lease", "must be whole seconds between %s and %s, not %s", minLease, maxLease, c.Lease)
	}
	if _, err := c.Emergency.Fraction(); err != nil {
		v.errorf("cluster.emergency", "%s", err)
	}
	v.optionalURL("cluster.address", c.Address)
	v.path("cluster.ca_file", c.CAFile)
	v.credentials("cluster", c.Username, c.PasswordFile)
	if c.Etcd != nil {
		v.etcd("cluster.etcd", *c.Etcd)
	}
	if c.Dir != nil {
		v.absolute("cluster.dir.path", c.Dir.Path)
	}
	if c.S3 != nil {
		v.bucket("cluster.s3", *c.S3)
	}
}

// credentials checks a login: the password is of no use without a user, and the other way round.
func (v *validator) credentials(key, username, passwordFile string) {
	v.path(key+".password_file", passwordFile)
	if (username == "") != (passwordFile == "") {
		v.errorf(key, "username and password_file belong together")
	}
}

func (v *validator) etcd(key string, e Etcd) {
	if len(e.Endpoints) == 0 {
		v.errorf(key+".endpoints", "needs at least one URL")
	}
	secure := 0
	for i, endpoint := range e.Endpoints {
		v.webURL(fmt.Sprintf("%s.endpoints[%d]", key, i), URL(endpoint))
		if strings.HasPrefix(endpoint, "https:") {
			secure++
		}
	}
	switch {
	case secure != 0 && secure != len(e.Endpoints):
		v.errorf(key+".endpoints", "of %d endpoints %d have TLS: all or none", len(e.Endpoints), secure)
	case secure == 0 && (e.CAFile != "" || e.CertFile != ""):
		v.errorf(key+".endpoints", "ca_file and cert_file need endpoints that begin with https://")
	case (e.CertFile == "") != (e.KeyFile == ""):
		v.errorf(key, "cert_file and key_file belong together")
	}
	v.path(key+".ca_file", e.CAFile)
	v.path(key+".cert_file", e.CertFile)
	v.path(key+".key_file", e.KeyFile)
	v.credentials(key, e.Username, e.PasswordFile)
}

func (v *validator) bucket(key string, b Bucket) {
	v.optionalURL(key+".endpoint", b.Endpoint)
	v.path(key+".credentials_file", b.CredentialsFile)
	v.path(key+".ca_file", b.CAFile)
	if strings.ContainsAny(b.Bucket, "/ \t\r\n") {
		v.errorf(key+".bucket", "%q is no name of a bucket", b.Bucket)
	}
}

// cluster looks at the files that the cluster needs. The shared folder may come later.
func (f *fileChecker) cluster(c *Cluster) {
	if c == nil {
		return
	}
	f.readable("cluster.ca_file", c.CAFile)
	f.secret("cluster.password_file", c.PasswordFile)
	if e := c.Etcd; e != nil {
		f.readable("cluster.etcd.ca_file", e.CAFile)
		f.readable("cluster.etcd.cert_file", e.CertFile)
		f.secret("cluster.etcd.key_file", e.KeyFile)
		f.secret("cluster.etcd.password_file", e.PasswordFile)
	}
	if c.S3 != nil {
		f.bucket("cluster.s3", *c.S3)
	}
}

func (f *fileChecker) bucket(key string, b Bucket) {
	f.secret(key+".credentials_file", b.CredentialsFile)
	f.readable(key+".ca_file", b.CAFile)
}
