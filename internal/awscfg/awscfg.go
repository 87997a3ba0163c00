// Package awscfg makes the settings with which AWS's SDK is used: whose credentials, which roots,
// how often a request is tried. The stores in buckets call it, and the step that imports
// certificates.
//
// It promises that a file of credentials that is named is the only place that they come from,
// whatever the environment says, and that nobody else can read it.
package awscfg

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/certmedic/certmedic/internal/ownership"
)

// Options say how AWS, or what speaks its protocol, is asked.
type Options struct {
	Region          string
	CredentialsFile string        // in AWS's form; empty: what the SDK finds in the environment, in ~/.aws, or at the instance
	Profile         string        // of the credentials; empty: default
	CAFile          string        // PEM of the CAs that endpoints are verified with; empty: the system's
	Tries           int           // of one request
	LongestPause    time.Duration // between two tries
	Timeout         time.Duration // of one try; 0: whoever asks bounds it
}

// Load makes settings. What the SDK takes from the environment of this process counts only where no
// file of credentials is named.
func Load(ctx context.Context, o Options) (aws.Config, error) {
	client, err := httpClient(o)
	if err != nil {
		return aws.Config{}, err
	}
	settings := aws.Config{}
	if o.CredentialsFile != "" {
		settings.Credentials, err = readCredentials(ctx, o.CredentialsFile, cmp.Or(o.Profile, "default"))
	} else {
		settings, err = config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithSharedConfigProfile(o.Profile))
	}
	if err != nil {
		return aws.Config{}, err
	}
	settings.HTTPClient = client
	settings.Region = o.Region
	settings.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(s *retry.StandardOptions) { s.MaxAttempts, s.MaxBackoff = o.Tries, o.LongestPause })
	}
	settings.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // others than Amazon may not know them
	settings.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	return settings, nil
}

func httpClient(o Options) (*awshttp.BuildableClient, error) {
	client, caFile := awshttp.NewBuildableClient().WithTimeout(o.Timeout), o.CAFile
	if caFile == "" {
		return client, nil
	}
	if err := ownership.Check(caFile); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%q holds no certificate in PEM", caFile)
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}), nil
}

// readCredentials reads a file of its own, whatever the environment says.
func readCredentials(ctx context.Context, path, name string) (aws.CredentialsProvider, error) {
	if err := ownership.CheckSecret(path); err != nil {
		return nil, fmt.Errorf("reading the credentials: %w", err)
	}
	profile, err := config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
	})
	if err != nil || !profile.Credentials.HasKeys() {
		return nil, fmt.Errorf("reading the credentials: %q has no aws_access_key_id and aws_secret_access_key under [%s]", path, name)
	}
	return credentials.StaticCredentialsProvider{Value: profile.Credentials}, nil
}
