// Package discover finds out what there is to watch: on this host by reading the trees of
// certbot and other clients, the configurations of nginx, apache, haproxy, postfix and dovecot
// and the list of listening sockets, and elsewhere by asking Prometheus' service discovery and DNS. It is
// called where no certificates are configured, to keep up with what is new, and to write a
// first configuration. It changes nothing, and executes, connects to and asks only what it
// is given the means for; what it cannot read becomes a finding and hides nothing else.
package discover

import (
	"context"
	"net/http"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/dovecot"
	"github.com/certmedic/certmedic/probe/discover/haproxy"
	"github.com/certmedic/certmedic/probe/discover/listening"
	"github.com/certmedic/certmedic/probe/discover/postfix"
	"github.com/certmedic/certmedic/probe/discover/sd"
	"github.com/certmedic/certmedic/probe/disk"
)

// Options say where to look, and lend the means. What is empty is not looked for.
type Options struct {
	CertbotDirs []string  // certbot's configuration folders, such as /etc/letsencrypt
	Trees       []string  // folders of acme.sh, lego, Caddy or dehydrated, see disk.Tree
	NginxConf   string    // nginx's main file, such as /etc/nginx/nginx.conf
	ApacheConf  string    // apache's main file, such as /etc/apache2/apache2.conf
	HAProxyConf string    // haproxy's file, such as /etc/haproxy/haproxy.cfg
	PostfixConf string    // postfix's main.cf, such as /etc/postfix/main.cf; master.cf is beside it
	DovecotConf string    // dovecot's main file, such as /etc/dovecot/dovecot.conf
	Now         time.Time // the time of the reads

	// NginxCommand is [nginx, -T], whose output is read in place of NginxConf; ApacheCommand
	// is [apachectl, -S], whose output is read besides ApacheConf. Where a command fails,
	// the files alone are read.
	NginxCommand  []string
	ApacheCommand []string

	FileSD    []string    // patterns of files in the form of Prometheus' file_sd
	HTTPSD    []sd.Server // that answer in the form of Prometheus' http_sd
	DNS       []sd.Query  // names to look up, as Prometheus' dns_sd has them
	Listening bool        // whether this host's listening sockets are tried
	Proc      string      // where the kernel tells of them; empty: /proc

	Reader disk.Reader // reads sources; one with a cache makes repeated looks cheap

	// Protocols are those that can be probed; what speaks another one is left out. Empty:
	// tls alone.
	Protocols []string

	Means
}

// Means are what discovery is lent to leave the files. What needs one that is nil does not
// happen.
type Means struct {
	Run         func(ctx context.Context, argv []string) ([]byte, error)  // runs a command and returns its standard output; the error names the command
	Client      *http.Client                                              // for HTTPSD, see sd.NewClient
	Resolver    sd.Resolver                                               // for DNS
	Answers     *sd.Memory                                                // what HTTPSD and DNS answered at earlier looks; nil: each look asks them all
	ParseTarget func(target string) (certmedic.Endpoint, error)           // for FileSD and HTTPSD, see probe.ParseTarget
	Served      func(context.Context, certmedic.Endpoint) (Served, error) // for Listening: a handshake
}

// Served is the leaf that an endpoint presents.
type Served = listening.Leaf

// Result is what there is to watch.
type Result struct {
	// Certificates are the lineages and what other clients keep, in the order of the trees
	// and their names, then the pairs of files that services use besides them, each bound to
	// the endpoints that use it; one that no discovered service uses has none. Behind them
	// are the endpoints whose certificate is kept elsewhere, each as a watched certificate.
	Certificates []certmedic.Certificate
}

// Host is [Find] without means: it reads certbot's trees and the services' configuration
// files, and leaves commands, sockets, service discovery and DNS aside.
func Host(opts Options) (Result, []certmedic.Finding) {
	opts.Means = Means{}
	return Find(context.Background(), opts)
}

// Find looks at all that the options name. Folders and files that are not there are
// findings, so name only those that are meant to be. It ends early when ctx does.
//
// A server that has several certificates for the same clients is bound to none of them:
// which one it presents depends on the client, so another one would be no drift. It is
// watched.
func Find(ctx context.Context, opts Options) (Result, []certmedic.Finding) {
	h := newHost(opts)
	for _, dir := range opts.CertbotDirs {
		h.addTree(dir)
	}
	for _, dir := range opts.Trees {
		h.addClient(dir)
	}
	h.bindServers(h.nginx(ctx, opts))
	h.bindServers(h.apache(ctx, opts))
	h.bindServers(h.parsed(opts.HAProxyConf, haproxy.Parse))
	h.bindServers(h.parsed(opts.PostfixConf, postfix.Parse))
	h.bindServers(h.parsed(opts.DovecotConf, dovecot.Parse))
	h.addSockets(ctx, opts)
	h.addTargets(ctx, opts)
	h.addNames(ctx, opts)
	return Result{Certificates: h.certificates}, h.findings
}
