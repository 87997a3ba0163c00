// Package session connects to a host by ssh, runs commands there and moves files. Package
// remote calls it for each destination on another host.
//
// It promises that nobody is believed whom known_hosts does not name, jump hosts included: a
// missing entry is an error that holds the line to add. Commands are argument vectors; the one
// line that sshd hands to the login shell is made by [Quote] and by nothing else. Every wait has
// a limit, a host that answers no longer is noticed, and a command whose end was not seen is
// told as cancelled: whether it ran has to be looked at.
package session
