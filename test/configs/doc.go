// Package configs holds what certmedic says of services' configurations against what the
// services say: nginx, apache, haproxy, postfix and dovecot of Debian, on a throwaway host
// (package internal/testhost), each with the configurations of
// probe/host/service/servicetest. Nothing calls it; it promises that what is called a sure
// mistake is one, and it prints how many of the real ones are found.
//
// It needs root and Debian; elsewhere its tests are skipped and `make test` names them.
package configs
