// Package depstmp holds modules in go.mod until their users are there.
package depstmp

import (
	_ "github.com/go-acme/lego/v4/acme"
	_ "github.com/go-acme/lego/v4/acme/api"
	_ "github.com/go-acme/lego/v4/certificate"
	_ "github.com/go-acme/lego/v4/lego"
)
