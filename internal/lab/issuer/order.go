package issuer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

const (
	orderTimeout = time.Minute
	pollInterval = 50 * time.Millisecond
	pollAttempts = 600
)

// obtain places one order with a new account and answers its http-01 challenges.
func (i Issuer) obtain(ctx context.Context, server, listen string, names []string) (tree.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	account, err := mint.NewKey(mint.EC256)
	if err != nil {
		return tree.Version{}, err
	}
	client := &acme.Client{Key: account, HTTPClient: i.Client, DirectoryURL: server, UserAgent: "certlab"}
	if _, err := client.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		return tree.Version{}, fmt.Errorf("registering with %q: %w", server, err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return tree.Version{}, fmt.Errorf("ordering %q: %w", names, err)
	}
	if err := answerChallenges(ctx, client, listen, order.AuthzURLs); err != nil {
		return tree.Version{}, err
	}
	return finalize(ctx, client, order, names)
}

// finalize asks for the certificate of an order whose challenges are answered.
func finalize(ctx context.Context, client *acme.Client, order *acme.Order, names []string) (tree.Version, error) {
	key, err := mint.NewKey(mint.EC256)
	if err != nil {
		return tree.Version{}, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return tree.Version{}, fmt.Errorf("requesting %q: %w", names, err)
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, request, true)
	if err != nil {
		return tree.Version{}, fmt.Errorf("finalizing the order for %q: %w", names, err)
	}
	return encode(chain, key)
}

// encode returns a chain in DER, leaf first, and its key as certbot keeps them.
func encode(chain [][]byte, key crypto.Signer) (tree.Version, error) {
	certs := make([]*x509.Certificate, 0, len(chain))
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return tree.Version{}, fmt.Errorf("reading what was issued: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return tree.Version{}, errors.New("the authority issued nothing")
	}
	private, err := mint.KeyPEM(key)
	if err != nil {
		return tree.Version{}, err
	}
	return tree.Version{Cert: mint.PEM(certs[0]), Chain: mint.PEM(certs[1:]...), Privkey: private}, nil
}

// answerChallenges serves the http-01 answers (RFC 8555, section 8.3) at listen until
// every authorization is valid.
func answerChallenges(ctx context.Context, client *acme.Client, listen string, urls []string) error {
	answers := map[string]string{}
	var accept []*acme.Challenge
	for _, url := range urls {
		authorization, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("reading an authorization: %w", err)
		}
		challenge, err := http01(authorization)
		if err != nil {
			return err
		}
		answer, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		answers[client.HTTP01ChallengePath(challenge.Token)] = answer
		accept = append(accept, challenge)
	}
	stop, err := serveAnswers(ctx, listen, answers)
	if err != nil {
		return err
	}
	defer stop()
	for _, challenge := range accept {
		if _, err := client.Accept(ctx, challenge); err != nil {
			return fmt.Errorf("accepting a challenge: %w", err)
		}
	}
	for _, url := range urls {
		if err := waitValid(ctx, client, url); err != nil {
			return err
		}
	}
	return nil
}

func http01(authorization *acme.Authorization) (*acme.Challenge, error) {
	for _, challenge := range authorization.Challenges {
		if challenge.Type == "http-01" {
			return challenge, nil
		}
	}
	return nil, fmt.Errorf("the authority offers no http-01 for %q", authorization.Identifier.Value)
}

// serveAnswers answers the given paths over plain HTTP until stop is called.
func serveAnswers(ctx context.Context, listen string, answers map[string]string) (stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listening for http-01: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(answer)) // the authority says when it got nothing
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends by Close only
	}()
	return func() {
		_ = server.Close()
		<-ended
	}, nil
}

// waitValid waits until an authorization is valid.
func waitValid(ctx context.Context, client *acme.Client, url string) error {
	for range pollAttempts {
		authorization, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("reading an authorization: %w", err)
		}
		switch authorization.Status {
		case acme.StatusValid:
			return nil
		case acme.StatusPending, acme.StatusProcessing:
		default:
			return fmt.Errorf("challenge for %q: %s: %w", authorization.Identifier.Value,
				authorization.Status, challengeError(authorization))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
	return fmt.Errorf("authorization %q is still pending", url)
}

func challengeError(authorization *acme.Authorization) error {
	for _, challenge := range authorization.Challenges {
		if challenge.Error != nil {
			return challenge.Error
		}
	}
	return errors.New("the authority gives no reason")
}
