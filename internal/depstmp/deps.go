// Package depstmp keeps modules in go.mod while the code that needs them is written.
package depstmp

import (
	_ "github.com/Netflix/bettertls/test-suites/certutil"
	_ "github.com/Netflix/bettertls/test-suites/nameconstraints"
	_ "github.com/Netflix/bettertls/test-suites/pathbuilding"
	_ "github.com/Netflix/bettertls/test-suites/test-case"
	_ "github.com/pavlo-v-chernykh/keystore-go/v4"
	_ "github.com/quic-go/quic-go"
	_ "github.com/quic-go/quic-go/http3"
	_ "golang.org/x/crypto/ocsp"
	_ "golang.org/x/crypto/x509roots/fallback/bundle"
	_ "golang.org/x/net/proxy"
	_ "golang.org/x/net/idna"
	_ "software.sslmate.com/src/go-pkcs12"
)
