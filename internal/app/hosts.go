package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// nodeBook keeps what is known of the nodes of certificates where all members find it. It is the
// [remediate.Nodes] of all generations.
type nodeBook struct {
	records func() coord.Records
	log     *slog.Logger

	sharing sync.Mutex // one writes at a time: what was known before never comes after

	mu    sync.Mutex
	known map[string][]certmedic.NodeStatus // by certificate, as it was read or written last
	owed  map[string]bool                   // what is known and could not be shared
}

func (a *App) newNodeBook() *nodeBook {
	return &nodeBook{
		records: func() coord.Records { return a.cluster.Records() }, log: a.o.Log,
		known: map[string][]certmedic.NodeStatus{}, owed: map[string]bool{},
	}
}

func nodesKey(certificate string) string { return "nodes/" + certificate }

// Nodes returns what is known of the nodes of a certificate; never nil without an error. While the
// members' records cannot be read that is what this member knows.
func (b *nodeBook) Nodes(ctx context.Context, certificate string) ([]certmedic.NodeStatus, error) {
	b.mu.Lock()
	known, read := b.known[certificate]
	owed := b.owed[certificate]
	b.mu.Unlock()
	if owed {
		return b.share(ctx, certificate)
	}
	all, _, err := b.read(ctx, certificate)
	switch {
	case err == nil:
		b.keep(certificate, all, false)
		return slices.Clone(all), nil
	case read:
		return slices.Clone(known), nil
	}
	return nil, err
}

// share writes what could not be written before, as long as nobody else has been at work since.
func (b *nodeBook) share(ctx context.Context, certificate string) ([]certmedic.NodeStatus, error) {
	b.sharing.Lock()
	defer b.sharing.Unlock()
	b.mu.Lock()
	known, owed := slices.Clone(b.known[certificate]), b.owed[certificate]
	b.mu.Unlock()
	if !owed { // it was shared meanwhile, or refused
		all, _, err := b.read(ctx, certificate)
		return all, err
	}
	err := b.write(ctx, certificate, tokenOf(known), known)
	if errors.Is(err, coord.ErrStale) {
		b.keep(certificate, nil, false)
		return nil, fmt.Errorf("another member has been at work on the nodes of %q: %w", certificate, err)
	}
	if err == nil {
		b.keep(certificate, known, false)
	}
	return known, nil
}

func tokenOf(all []certmedic.NodeStatus) (token uint64) {
	for _, n := range all {
		token = max(token, n.Token)
	}
	return token
}

func (b *nodeBook) keep(certificate string, all []certmedic.NodeStatus, owed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if all == nil {
		delete(b.known, certificate)
	} else {
		b.known[certificate] = all
	}
	b.owed[certificate] = owed
}

// SaveNodes keeps what is known in place of what was. Where the members' records cannot be written now
// it is kept here and written later: the journal has it, and the hosts themselves refuse who comes
// with a lower token.
func (b *nodeBook) SaveNodes(ctx context.Context, certificate string, token uint64, all []certmedic.NodeStatus) error {
	b.sharing.Lock()
	defer b.sharing.Unlock()
	err := b.write(ctx, certificate, token, all)
	if errors.Is(err, coord.ErrStale) {
		return fmt.Errorf("another member has been at work on the nodes of %q: %w", certificate, err)
	}
	if err != nil {
		b.log.Warn("what was done on nodes could not be shared; it is tried again", "certificate", certificate, "err", err)
	}
	b.keep(certificate, slices.Clone(all), err != nil)
	return nil
}

// casTries bounds how often a write is tried that another one came before.
const casTries = 3

func (b *nodeBook) write(ctx context.Context, certificate string, token uint64, all []certmedic.NodeStatus) error {
	value, err := encodeNodes(all)
	if err != nil {
		return fmt.Errorf("encoding what is known of nodes: %w", err)
	}
	for range casTries {
		var before coord.Record
		if _, before, err = b.read(ctx, certificate); err != nil {
			return err
		}
		if before.Token > token {
			return fmt.Errorf("%w: its token is %d, this one is %d", coord.ErrStale, before.Token, token)
		}
		if _, err = b.records().Put(ctx, nodesKey(certificate), before.Revision, token, value); !errors.Is(err, coord.ErrStale) {
			return err
		}
	}
	return err
}

// shortDetail is how much of why nodes are not done members share where all of it would not fit, in bytes.
const shortDetail = 60

// encodeNodes encodes what is known of nodes, and says less of why they are not done where it would be
// longer than a record may be.
func encodeNodes(all []certmedic.NodeStatus) ([]byte, error) {
	value, err := json.Marshal(all)
	for _, most := range []int{shortDetail, 0} {
		if err != nil || len(value) <= coord.MaxValue {
			return value, err
		}
		short := slices.Clone(all)
		for i := range short {
			short[i].Detail = strings.ToValidUTF8(short[i].Detail[:min(most, len(short[i].Detail))], "")
		}
		value, err = json.Marshal(short)
	}
	return value, err
}

func (b *nodeBook) read(ctx context.Context, certificate string) ([]certmedic.NodeStatus, coord.Record, error) {
	r, ok, err := b.records().Get(ctx, nodesKey(certificate))
	if err != nil {
		return nil, r, fmt.Errorf("reading what is known of the nodes of %q: %w", certificate, err)
	}
	all := []certmedic.NodeStatus{}
	if ok {
		if err := json.Unmarshal(r.Value, &all); err != nil {
			return nil, r, fmt.Errorf("decoding what is known of the nodes of %q: %w", certificate, err)
		}
	}
	return all, r, nil
}

// dial connects to the hosts of a configuration.
func dial(c *config.Config) func(ctx context.Context, node string) (*session.Session, error) {
	return func(ctx context.Context, node string) (*session.Session, error) {
		h, ok := c.Host(node)
		if !ok {
			return nil, fmt.Errorf("connecting to %q: there is no such host", node)
		}
		way, err := c.Way(h)
		if err != nil {
			return nil, err
		}
		home, err := homeOf()
		if err != nil {
			return nil, fmt.Errorf("connecting to %q: %w", node, err)
		}
		to := sshHost(h, home)
		for _, jump := range way {
			to.Via = append(to.Via, sshHost(jump, home))
		}
		return session.Dial(ctx, to, session.Limits{})
	}
}

// homeOf returns the home of certmedic's user, as the user database has it.
func homeOf() (string, error) {
	me, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("looking for the home of certmedic's user: %w", err)
	}
	return me.HomeDir, nil
}

// sshHost says how a host is reached, with the usual files where none are configured.
func sshHost(h config.Host, home string) session.Host {
	address, port := h.Split()
	to := session.Host{
		Address: address, Port: port, User: h.User, KnownHosts: h.KnownHosts, KeyFiles: h.KeyFiles,
		PassphraseFile: h.PassphraseFile, Agent: h.Agent, Sudo: h.Sudo, SFTPServer: h.SFTPServer,
	}
	in := func(name string) string { return filepath.Join(home, ".ssh", name) }
	if len(to.KnownHosts) == 0 {
		to.KnownHosts = there("/etc/ssh/ssh_known_hosts", in("known_hosts"))
	}
	if len(to.KeyFiles) == 0 && to.Agent == "" {
		to.KeyFiles = there(in("id_ed25519"), in("id_ecdsa"), in("id_rsa"))
	}
	return to
}

// there returns those of several files that are there.
func there(files ...string) []string {
	return slices.DeleteFunc(files, func(file string) bool {
		_, err := os.Stat(file)
		return err != nil
	})
}
