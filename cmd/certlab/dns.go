package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/lab/dnsd"
)

func dnsCommand() *cobra.Command {
	var listen string
	var records, faults []string
	command := &cobra.Command{
		Use:   "dns",
		Short: "Run a DNS server with a given zone until it is told to stop",
		Example: `  certlab dns --listen 127.0.0.1:5353 --record '* A 127.0.0.1'
  certlab dns --record 'shop.test A 127.0.0.1' --record 'shop.test AAAA ::1' --fault 'www.shop.test servfail'`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			server, err := dnsd.Start(command.Context(), listen)
			if err != nil {
				return err
			}
			defer server.Stop()
			if err := fill(server, records, faults); err != nil {
				return err
			}
			fmt.Fprintf(command.OutOrStdout(), "DNS at %s\n", server.Addr())
			<-command.Context().Done()
			return nil
		},
	}
	flags := command.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:0", "`host:port` for UDP and TCP")
	flags.StringArrayVar(&records, "record", nil, "`'NAME TYPE DATA'`; the name * stands for all others; may be given often")
	flags.StringArrayVar(&faults, "fault", nil, fmt.Sprintf("`'NAME FAULT'`, a fault of %q; may be given often", dnsd.Faults()))
	return command
}

// fill puts the records and faults of the flags into the server's zone.
func fill(server *dnsd.Server, records, faults []string) error {
	zone := map[string][]string{}
	for _, record := range records {
		name, data, found := strings.Cut(record, " ")
		if !found {
			return fmt.Errorf("record %q is not NAME TYPE DATA", record)
		}
		zone[name] = append(zone[name], data)
	}
	for name, data := range zone {
		if err := server.Set(name, data...); err != nil {
			return err
		}
	}
	for _, text := range faults {
		name, word, _ := strings.Cut(text, " ")
		fault, err := dnsd.ParseFault(word)
		if err != nil {
			return fmt.Errorf("fault %q: %w", text, err)
		}
		server.Fail(name, fault)
	}
	return nil
}
