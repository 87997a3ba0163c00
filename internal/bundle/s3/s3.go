// Package s3 is a [bundle.Store] in a bucket of Amazon S3, or of a store that speaks its protocol
// and has conditional writes: If-None-Match and If-Match of PutObject. The wiring opens it for a
// source or a publisher with a shared bucket.
//
// Not every store that says so has them, and one that passes over a condition in silence would let
// two publishers overwrite each other. [Open] proves them therefore, one after the other and in a
// race, and refuses a store that fails.
//
// It promises that each request ends, after at most three tries, and that no answer is read beyond
// the bounds of package bundle. A try whose answer was lost may have happened; the store says
// [bundle.ErrConflict] to the next one then, and the caller looks.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/certmedic/certmedic/internal/awscfg"
	"github.com/certmedic/certmedic/internal/bundle"
)

const (
	tries          = 3
	longestPause   = time.Second // between tries
	requestTimeout = 20 * time.Second
	usualRegion    = "us-east-1"
)

// Config says where a bucket is.
type Config struct {
	Endpoint        string // URL; empty: Amazon's in the region
	Region          string // empty: us-east-1
	Bucket          string
	Prefix          string // of all keys, such as "certmedic/"; may be empty
	CredentialsFile string // in AWS's form, profile "default"; empty: what the SDK finds, such as the role of the instance
	CAFile          string // PEM of the CAs that the endpoint's certificate is verified with; empty: the system's
	VirtualHosts    bool   // with an Endpoint: the bucket is part of the host's name, not of the path
}

// Store is a bucket, or what is below a prefix in it.
type Store struct {
	client *s3.Client
	bucket string
	prefix string
}

// Open opens a bucket and proves that it keeps conditions, with a small object of its own below
// ".certmedic-probe" that it removes again. That takes some forty requests.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := connect(ctx, c)
	if err == nil {
		err = s.prove(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %q: %w", c.Bucket, err)
	}
	return s, nil
}

// OpenReader opens a bucket for a consumer, whose credentials need not allow it to write. It asks
// nothing yet.
func OpenReader(ctx context.Context, c Config) (bundle.Reader, error) {
	s, err := connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %q: %w", c.Bucket, err)
	}
	return s, nil
}

func connect(ctx context.Context, c Config) (*Store, error) {
	if c.Bucket == "" {
		return nil, errors.New("it has no name")
	}
	client, err := Client(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Store{bucket: c.Bucket, prefix: c.Prefix, client: client}, nil
}

// Client returns what a bucket is asked with, for others who keep something in one. It asks nothing yet.
func Client(ctx context.Context, c Config) (*s3.Client, error) {
	if c.Region == "" {
		c.Region = usualRegion
	}
	settings, err := awscfg.Load(ctx, awscfg.Options{Region: c.Region, CredentialsFile: c.CredentialsFile, CAFile: c.CAFile, Tries: tries, LongestPause: longestPause})
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(settings, func(o *s3.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
			o.UsePathStyle = !c.VirtualHosts
		}
	}), nil
}

// Get implements [bundle.Reader].
func (s *Store) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	name, err := s.name(key)
	if err != nil {
		return bundle.Object{}, err
	}
	return s.read(ctx, name, known)
}

func (s *Store) read(ctx context.Context, name, known string) (bundle.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &name}
	if known != "" {
		in.IfNoneMatch = &known
	}
	out, err := s.client.GetObject(ctx, in)
	switch {
	case status(err) == http.StatusNotModified:
		return bundle.Object{}, bundle.ErrUnchanged
	case code(err) == "NoSuchKey":
		return bundle.Object{}, bundle.ErrNotFound
	case err != nil:
		return bundle.Object{}, err
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, bundle.MaxObject+1))
	if err != nil {
		return bundle.Object{}, fmt.Errorf("reading %q: %w", name, err)
	}
	tag := aws.ToString(out.ETag)
	switch {
	case len(data) > bundle.MaxObject:
		return bundle.Object{}, fmt.Errorf("reading %q: it is larger than %d bytes", name, bundle.MaxObject)
	case tag == "":
		return bundle.Object{}, fmt.Errorf("reading %q: it has no ETag", name)
	case tag == known: // a store that passes over the condition
		return bundle.Object{}, bundle.ErrUnchanged
	}
	return bundle.Object{Data: data, Tag: tag}, nil
}

// Create implements [bundle.Writer].
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	return s.put(ctx, key, "", data)
}

// Swap implements [bundle.Writer].
func (s *Store) Swap(ctx context.Context, key, tag string, data []byte) error {
	return s.put(ctx, key, tag, data)
}

func (s *Store) put(ctx context.Context, key, tag string, data []byte) error {
	name, err := s.name(key)
	if err != nil {
		return err
	}
	if len(data) > bundle.MaxObject {
		return fmt.Errorf("it has %d bytes, of at most %d", len(data), bundle.MaxObject)
	}
	return s.write(ctx, name, tag, data)
}

func (s *Store) write(ctx context.Context, name, tag string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: &name, Body: bytes.NewReader(data)}
	if tag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &tag
	}
	_, err := s.client.PutObject(ctx, in)
	switch {
	case status(err) == http.StatusPreconditionFailed, status(err) == http.StatusConflict, code(err) == "NoSuchKey":
		return bundle.ErrConflict
	case err != nil:
		return err
	}
	return nil
}

// List implements [bundle.Keeper].
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	name, err := s.name(strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, err
	}
	name += "/"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &name})
	const most = 100 // pages; a store may hand them out empty
	for range most {
		if !pages.HasMorePages() {
			return keys, nil
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing %q: %w", name, err)
		}
		for _, o := range page.Contents {
			if key, ok := strings.CutPrefix(aws.ToString(o.Key), s.prefix); ok && bundle.ValidKey(key) {
				keys = append(keys, key)
			}
		}
		if len(keys) > bundle.MaxListed {
			break
		}
	}
	return nil, fmt.Errorf("listing %q: there are more than %d objects", name, bundle.MaxListed)
}

// Remove implements [bundle.Keeper].
func (s *Store) Remove(ctx context.Context, key string) error {
	name, err := s.name(key)
	if err != nil {
		return err
	}
	return s.remove(ctx, name)
}

func (s *Store) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &name})
	if code(err) == "NoSuchKey" {
		return nil
	}
	return err
}

// name returns what an object is called in the bucket.
func (s *Store) name(key string) (string, error) {
	if !bundle.ValidKey(key) {
		return "", fmt.Errorf("%q is no key", key)
	}
	return s.prefix + key, nil
}

func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}
