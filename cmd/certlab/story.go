package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/certmedic/certmedic/internal/lab/story"
)

func storyCommand() *cobra.Command {
	var options story.Options
	command := &cobra.Command{
		Use:   "story",
		Short: "Show certmedic at work: a renewal whose hook fails silently, and how it is healed",
		Example: `  certlab story --dir .run --certmedic bin/certmedic
  certlab story --dir .run --certmedic bin/certmedic --once`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the certlab program: %w", err)
			}
			options.Certlab = self
			options.Out = command.OutOrStdout()
			options.Colour = colourful(options.Out)
			return story.Run(command.Context(), options)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Dir, "dir", ".run", "`folder` for everything that is written; emptied at the start")
	flags.StringVar(&options.Certmedic, "certmedic", "certmedic", "path of the certmedic `program`")
	flags.IntVar(&options.WebPort, "web-port", 9879, "certmedic's `port`; another one when it is taken, 0 is any")
	flags.IntVar(&options.NodePort, "node-port", 8443, "the web node's `port`; another one when it is taken, 0 is any")
	flags.BoolVar(&options.Once, "once", false, "end after one renewal; the exit code says whether it was healed")
	flags.DurationVar(&options.Every, "every", time.Minute, "time between two renewals")
	return command
}

// colourful reports whether out is a terminal that wants colours (https://no-color.org).
func colourful(out io.Writer) bool {
	file, isFile := out.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == ""
}
