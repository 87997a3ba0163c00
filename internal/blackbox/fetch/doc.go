// Package fetch makes the request of a module with the http prober and tells what came of
// it, redirect by redirect, in the meanings of blackbox_exporter. Package blackbox calls it.
//
// It promises that every address is checked before it is dialled, redirects included, and
// that the very address which was checked is dialled; that the TLS state of a hop is there
// also when its chain was refused; and that nothing is sent to a server whose chain was
// refused.
package fetch
