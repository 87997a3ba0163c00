package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/internal/audit/gather"
	"github.com/certmedic/certmedic/internal/audit/report"
	"github.com/certmedic/certmedic/probe/disk"
)

// auditFlags are the flags of `audit` as they were given.
type auditFlags struct {
	root, format, severity string
	only, skip             []string
	confined               bool
}

// The forms of an audit besides those of check.
const (
	formatMarkdown = "markdown"
	formatSARIF    = "sarif"
)

func auditFormats() []string { return []string{formatText, formatJSON, formatMarkdown, formatSARIF} }

func auditSeverities() []string {
	return []string{string(certmedic.SeverityInfo), string(certmedic.SeverityWarning), string(certmedic.SeverityCritical)}
}

const auditLong = `Audit looks at the certificates of this host, at the hooks, timers, permissions and configurations
around them, and says what will fail at the next renewal, what hides a failure, and what nobody has
ever tried: each with its place, why it matters, and what mends it. A checklist ends the report;
nothing in it is done without evidence.

It changes nothing, takes no lock of certbot and runs no program. Run it as root: what it cannot see
is told, and never taken for wrong.

With --root it looks at a mounted tree: an image, a backup, a disk of another host. The process is
confined to the tree (chroot) before it looks, so that links and paths mean what they mean there; a
configuration file is one of the tree. What only a running host has is told as not seen.

All codes: docs/audit.md.

Exit codes: 0 nothing at or above a warning, 1 a warning, 2 something critical.`

const auditExample = `  # What will fail at the next renewal?
  certmedic audit

  # For a pipeline that builds images
  certmedic audit --root /mnt/image --format sarif >audit.sarif

  # For a ticket, without what is known already
  certmedic audit --format markdown --skip unmonitored,no-snapshot

  # One question
  certmedic audit --only key-readable,hook-writable`

func newAudit(e *environment) *cobra.Command {
	f := &auditFlags{}
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Say what will fail at the next renewal on this host",
		Long:    auditLong,
		Example: auditExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if e.json && cmd.Flags().Changed("format") && f.format != formatJSON {
				return fmt.Errorf("--json and --format %s exclude each other", f.format)
			}
			return f.run(cmd.Context(), e)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.root, "root", "", "look at the tree that is mounted in this `folder`")
	flags.StringVar(&f.format, "format", formatText, "text, json, markdown or sarif")
	flags.StringVar(&f.severity, "severity", string(certmedic.SeverityInfo), "leave out what is less: info, warning or critical")
	flags.StringSliceVar(&f.only, "only", nil, "look for these `codes` only")
	flags.StringSliceVar(&f.skip, "skip", nil, "leave these `codes` out")
	flags.BoolVar(&f.confined, confinedFlag, false, "")
	_ = flags.MarkHidden(confinedFlag)                                                                                            // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(auditFormats(), cobra.ShellCompDirectiveNoFileComp))      // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(auditSeverities(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("only", completeCodes)                                                                     // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("skip", completeCodes)                                                                     // the flag exists
	return cmd
}

func auditCodes() []string {
	var codes []string
	for _, c := range audit.Checks() {
		codes = append(codes, c.Code)
	}
	return codes
}

// completeCodes completes the last of the codes that commas separate.
func completeCodes(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	var all []string
	for _, c := range audit.Checks() {
		all = append(all, before+c.Code+"\t"+c.About)
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// options checks the flags.
func (f *auditFlags) options(e *environment) (audit.Options, error) {
	if e.json {
		f.format = formatJSON
	}
	if !slices.Contains(auditFormats(), f.format) {
		return audit.Options{}, fmt.Errorf("--format: %q is none of %s", f.format, strings.Join(auditFormats(), ", "))
	}
	if !slices.Contains(auditSeverities(), f.severity) {
		return audit.Options{}, fmt.Errorf("--severity: %q is none of %s", f.severity, strings.Join(auditSeverities(), ", "))
	}
	codes := auditCodes()
	for _, code := range slices.Concat(f.only, f.skip) {
		if !slices.Contains(codes, code) {
			return audit.Options{}, fmt.Errorf("there is no code %q; docs/audit.md lists them", code)
		}
	}
	return audit.Options{Only: f.only, Skip: f.skip, Least: certmedic.Severity(f.severity)}, nil
}

func (f *auditFlags) run(ctx context.Context, e *environment) error {
	options, err := f.options(e)
	if err != nil {
		return err
	}
	s := diagnosisStyle(e) // before the process is confined
	if f.root != "" {
		confined, err := e.confine(ctx, f)
		if err != nil || !confined {
			return err
		}
	}
	facts := gather.Gather(ctx, e.auditMeans(f))
	if ctx.Err() != nil {
		return &exitError{exitUsage, errors.New("interrupted")}
	}
	result := audit.Examine(&facts, options)
	if err := e.printAudit(result, f.format, s); err != nil {
		return err
	}
	if code := result.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// auditMeans are what the configuration knows of where to look.
func (e *environment) auditMeans(f *auditFlags) gather.Means {
	m := gather.Means{Reader: disk.Reader{Keys: &disk.KeyCache{}}, Root: f.root, Strangers: f.confined}
	o := ownOf(e, f)
	m.Trees, m.Others, m.Mains = o.trees, o.others, o.mains
	m.Own = o.gather
	return m
}

func (e *environment) printAudit(r audit.Result, format string, s style) error {
	var b bytes.Buffer
	var err error
	switch format {
	case formatJSON:
		err = report.JSON(&b, r)
	case formatMarkdown:
		err = report.Markdown(&b, r)
	case formatSARIF:
		err = report.SARIF(&b, r, version)
	default:
		b.WriteString(auditText(r, s))
	}
	if err != nil {
		return fail(err)
	}
	_, err = io.WriteString(e.stdout, b.String())
	return err
}
