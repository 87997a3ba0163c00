package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// The exit codes that commands share. Those of a check are the status's own.
const (
	exitFailed     = 1
	exitUnverified = 2
	exitUsage      = 3
	exitPutBack    = 4
)

// defaultConfig is used where it exists and no other was named.
const defaultConfig = "/etc/certmedic/certmedic.yml"

// environment is what commands need of the process: nothing below reads it by itself.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string
	self           string // path of this program; empty where that is not known

	configFile string // of --config; empty where it was not given
	json       bool
}

// config returns the configuration file to use; empty where there is none.
func (e *environment) config() string {
	if e.configFile != "" {
		return e.configFile
	}
	if _, err := os.Stat(defaultConfig); err == nil {
		return defaultConfig
	}
	return ""
}

// exitError ends the process with a code; err, if any, is told on stderr.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// fail ends a command with exit code 1 and its error. Errors that are not wrapped so are
// errors of usage.
func fail(err error) error { return &exitError{code: exitFailed, err: err} }

func newRoot(e *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "certmedic",
		Short: "A watchdog for TLS certificates that heals",
		Long: `certmedic watches TLS certificates where they are served, compares that with where they
are kept, says where a new certificate got stuck on its way, and, where its owner opted in,
moves it on.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&e.configFile, "config", "", "configuration file (default "+defaultConfig+" if there)")
	root.PersistentFlags().BoolVar(&e.json, "json", false, "print JSON")
	root.AddCommand(
		newCheck(e), newDiagnose(e), newAudit(e), newServe(e), newConfig(e), newStatus(e), newMatrix(e), newIncidents(e), newHistory(e), newRedeploy(e), newReload(e), newSnapshots(e), newKey(e), newRenew(e), newRollback(e), newHooks(e), newPlans(e), newApprove(e), newReject(e), newRules(e), newSilence(e), newReceivers(e), newDrill(e), newMan(e), newStep(e),
	)
	return root
}

// printable replaces control characters, so that no string from a certificate, a server or
// a file can steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
