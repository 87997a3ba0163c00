package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages of all commands to a folder",
		Example: "  certmedic man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fail(fmt.Errorf("writing man pages: %w", err))
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "CERTMEDIC", Section: "1", Source: "certmedic " + version}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fail(fmt.Errorf("writing man pages: %w", err))
			}
			fmt.Fprintln(e.stdout, "wrote the man pages to "+printable(args[0]))
			return nil
		},
	}
}
