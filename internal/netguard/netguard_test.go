package netguard_test

import (
	"net/netip"
	"testing"

	"github.com/certmedic/certmedic/internal/netguard"
)

func TestSensitive(t *testing.T) {
	for _, row := range []struct {
		about, address string
		want           bool
	}{
		{"a cloud's metadata", "169.254.169.254", true},
		{"mapped into IPv6", "::ffff:169.254.169.254", true},
		{"translated", "::ffff:0:a9fe:a9fe", true},
		{"compatible", "::a9fe:a9fe", true},
		{"behind NAT64", "64:ff9b::a9fe:a9fe", true},
		{"behind NAT64 of a local network", "64:ff9b:1::a9fe:a9fe", true},
		{"inside of 6to4", "2002:a9fe:a9fe::1", true},
		{"link-local", "fe80::1", true},
		{"link-local of an interface", "fe80::1%eth0", true},
		{"multicast", "224.0.0.1", true},
		{"multicast over IPv6", "ff05::2", true},
		{"metadata of AWS over IPv6", "fd00:ec2::254", true},
		{"metadata of AWS with a zone", "fd00:ec2::254%eth0", true},
		{"metadata of Alibaba", "100.100.100.200", true},
		{"metadata of Alibaba inside of 6to4", "2002:6464:64c8::", true},
		{"the agent of Azure", "168.63.129.16", true},
		{"metadata of Scaleway", "fd00:42::42", true},
		{"this host", "127.0.0.1", false},
		{"this host over IPv6", "::1", false},
		{"the unspecified address, which is this host", "::", false},
		{"a private network", "10.0.0.1", false},
		{"a unique local address", "fd00::1", false},
		{"the internet", "93.184.216.34", false},
		{"the internet over IPv6", "2606:4700::1111", false},
	} {
		if got := netguard.Sensitive(netip.MustParseAddr(row.address)); got != row.want {
			t.Errorf("%s, %s: %t, want %t", row.about, row.address, got, row.want)
		}
	}
}

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"93.184.216.34": true, "2606:4700::1111": true, "64:ff9b::5db8:d822": true,
		"127.0.0.1": false, "0.0.0.0": false, "::": false, "::1": false, "::ffff:127.0.0.1": false, "10.1.2.3": false,
		"64:ff9b::a01:203": false, "2002:a01:203::": false, "100.64.0.1": false, "224.0.0.1": false, "fd12::1": false,
	} {
		if got := netguard.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
}

func FuzzSensitive(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "::ffff:0:a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%eth0", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		if address.Unmap().IsLinkLocalUnicast() && !netguard.Sensitive(address) {
			t.Errorf("%s is link-local", address)
		}
		if inner := netguard.Inner(address); netguard.Inner(inner) != inner {
			t.Errorf("%s carries %s, which carries another", address, inner)
		}
	})
}
