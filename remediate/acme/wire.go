package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	exchangeTimeout = 90 * time.Second // of one request to the CA
	maxBody         = 1 << 20          // bytes of one answer; a chain has a few thousand
)

// wire carries lego's requests. It binds them to the context that lego's functions do not take,
// bounds them, and remembers the last answer: lego hands out neither its headers nor its status.
// It is used by one goroutine.
type wire struct {
	ctx  context.Context
	base *http.Transport
	step func(point string) // see job.step

	status int         // of the last answer; 0 where there was none
	header http.Header // of the last answer
	body   []byte      // of the last answer
}

func newWire(ctx context.Context, caFile string, step func(string)) (*wire, error) {
	roots, err := readRoots(caFile)
	if err != nil {
		return nil, err
	}
	return &wire{ctx: ctx, step: step, base: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: exchangeTimeout,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
	}}, nil
}

// readRoots returns nil, which means the system's, where there is no file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, invalid("the roots of the CA's server: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, invalid("the roots of the CA's server: %q holds no certificate", file)
	}
	return roots, nil
}

// RoundTrip sends a request and reads the whole answer.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	w.status, w.header, w.body = 0, nil, nil
	ctx, cancel := context.WithTimeout(w.ctx, exchangeTimeout)
	defer cancel()
	w.step("before " + request.Method + " " + request.URL.Path)
	response, err := w.base.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	w.step("after " + request.Method + " " + request.URL.Path)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if errClose := response.Body.Close(); err == nil {
		err = errClose
	}
	if err == nil && len(body) > maxBody {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %q: %w", request.URL, err)
	}
	w.status, w.header, w.body = response.StatusCode, response.Header, body
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
