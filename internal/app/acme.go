package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// ways returns what says how a certificate is renewed, by certmedic itself or by others, see
// [renewals].
func (a *App) ways(c *config.Config) func(certmedic.Certificate) (renew.Way, error) {
	others := renewals(c)
	own := map[string]config.Certificate{}
	for _, cert := range c.Certificates {
		if cert.ACME() != nil {
			own[cert.Name] = cert
		}
	}
	return func(cert certmedic.Certificate) (renew.Way, error) {
		configured, ok := own[cert.Name]
		if !ok {
			return others(cert)
		}
		way, err := a.byACME(c, configured, cert.Source)
		if err != nil {
			return renew.Way{}, err
		}
		return renew.Way{ACME: &way}, nil
	}
}

// byACME returns how certmedic itself has a certificate renewed, after a look at who may write
// what it reads and runs.
func (a *App) byACME(c *config.Config, cert config.Certificate, source certmedic.Source) (renew.ACME, error) {
	conf, folder := cert.ACME(), c.ACMEFolder(cert.Name)
	way := renew.ACME{
		Self: a.o.Self, First: authorityOf(c, conf, filepath.Join(folder, "work")), Names: ascii(conf.Domains), Store: native.Store{Folder: folder}, Roots: c.Probe.Roots,
		Shared: c.Cluster != nil, ReuseKey: conf.ReuseKey, PreHook: conf.PreHook, PostHook: conf.PostHook,
	}
	if f := conf.Fallback; f != nil {
		next := authorityOf(c, instead(*conf), filepath.Join(folder, "work-fallback"))
		way.Next, way.After = &next, f.After
	}
	for _, e := range a.denied.Entries() {
		way.Denied = append(way.Denied, e.SPKI)
	}
	if err := trustACME(conf); err != nil {
		return renew.ACME{}, err
	}
	if err := a.storeInto(&way, source); err != nil {
		return renew.ACME{}, err
	}
	var err error
	if way.Last, err = native.Last(folder); err != nil {
		return renew.ACME{}, err
	}
	kept, err := a.store.Renewals()
	if r := kept[cert.Name]; r.Window != nil {
		way.Window = renew.Window{Version: r.Version, Start: r.Window.Start, End: r.Window.End}
	}
	return way, err
}

// storeInto says where a source keeps what is issued.
func (a *App) storeInto(way *renew.ACME, source certmedic.Source) error {
	switch source.Kind {
	case certmedic.SourceFiles:
		way.Store.Files = &native.Files{Cert: source.Cert, Key: source.Key, Chain: source.Chain}
		for _, path := range []string{source.Cert, source.Key, source.Chain} {
			if path == "" {
				continue
			}
			if err := ownership.Check(filepath.Dir(path)); err != nil {
				return fmt.Errorf("checking the folder of %q: %w", path, err)
			}
		}
	case certmedic.SourceCertbot:
		at, err := place(certmedic.Certificate{Source: source})
		if err != nil {
			return err
		}
		conf, err := disk.ReadRenewalConf(at.Conf)
		if err != nil {
			return err
		}
		way.Store.Lineage = &at
		if account := conf.Params["account"].Values; len(account) == 1 && conf.Server == way.First.Order.Directory {
			way.ByAccount = account[0]
		}
	}
	return nil
}

// accountsName is the folder of the accounts' keys, in the state.
const accountsName = "acme-accounts"

// authorityOf returns how to ask the first CA of a configuration. What is ordered but not yet
// stored is kept in the folder work.
func authorityOf(c *config.Config, conf *config.ACME, work string) renew.CA {
	order := acme.Request{
		Directory: conf.Directory, CAFile: conf.CAFile,
		Account: acme.Account{Dir: filepath.Join(c.StateDir, accountsName), Email: conf.Email, Import: strings.TrimSuffix(conf.ImportAccount, "/")},
		KeyType: conf.KeyType, MustStaple: conf.MustStaple, Profile: conf.Profile, PreferredChain: conf.PreferredChain,
		Challenge: challengeOf(conf.Challenge), Work: work,
	}
	if conf.EAB != nil {
		order.Account.EABKeyID, order.Account.EABKeyFile = conf.EAB.KeyID, conf.EAB.KeyFile
	}
	return renew.CA{Order: order, Staging: conf.StagingDirectory()}
}

// instead returns the configuration with the second CA in place of the first.
func instead(conf config.ACME) *config.ACME {
	f := conf.Fallback
	conf.Directory, conf.CAFile, conf.EAB = f.Directory, f.CAFile, f.EAB
	conf.Profile, conf.PreferredChain, conf.Staging, conf.ImportAccount = f.Profile, f.PreferredChain, "", ""
	if f.Email != "" {
		conf.Email = f.Email
	}
	return &conf
}

func challengeOf(c config.ACMEChallenge) acme.Challenge {
	var to acme.Challenge
	if h := c.HTTP01; h != nil {
		to.HTTP01 = &acme.HTTP01{Webroot: h.Webroot, Listen: h.Listen}
	}
	if t := c.TLSALPN01; t != nil {
		to.TLSALPN01 = &acme.TLSALPN01{Listen: t.Listen}
	}
	if d := c.DNS01; d != nil {
		to.DNS01 = &acme.DNS01{Provider: d.Provider, EnvFile: d.EnvFile, Resolvers: d.Resolvers, Wait: d.Wait}
	}
	return to
}

// ascii returns names as they stand in certificates. What is no name was reported when the
// configuration was read.
func ascii(domains []string) []string {
	names := slices.Clone(domains)
	for i, name := range names {
		wild, rest := "", strings.ToLower(name)
		if after, ok := strings.CutPrefix(rest, "*."); ok {
			wild, rest = "*.", after
		}
		if text, err := idna.Lookup.ToASCII(rest); err == nil {
			rest = text
		}
		names[i] = wild + rest
	}
	return names
}

// trustACME checks, once more before each use, the files that an issuance reads.
func trustACME(conf *config.ACME) error {
	var secrets []string
	if d := conf.Challenge.DNS01; d != nil {
		secrets = append(secrets, d.EnvFile)
	}
	if conf.EAB != nil {
		secrets = append(secrets, conf.EAB.KeyFile)
	}
	if f := conf.Fallback; f != nil && f.EAB != nil {
		secrets = append(secrets, f.EAB.KeyFile)
	}
	if conf.ImportAccount != "" {
		secrets = append(secrets, filepath.Join(conf.ImportAccount, "private_key.json"))
	}
	for _, path := range secrets {
		if path == "" {
			continue
		}
		if err := ownership.CheckSecret(path); err != nil {
			return fmt.Errorf("checking %q: %w", path, err)
		}
	}
	return nil
}

// acmeCAFiles lists the files with the roots of the servers of CAs that certmedic orders from.
func acmeCAFiles(c *config.Config) []string {
	var files []string
	for _, cert := range c.Certificates {
		conf := cert.ACME()
		if conf == nil {
			continue
		}
		files = append(files, conf.CAFile)
		if conf.Fallback != nil {
			files = append(files, conf.Fallback.CAFile)
		}
	}
	slices.Sort(files)
	return slices.DeleteFunc(slices.Compact(files), func(f string) bool { return f == "" })
}
