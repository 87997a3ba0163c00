package blackbox

import (
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	for _, row := range []struct {
		about   string
		list    []string
		host    string
		address string
		allowed bool
	}{
		{"anybody by default", nil, "shop.test", "192.0.2.1", true},
		{"loopback by default", nil, "localhost", "127.0.0.1", true},
		{"no link-local address", nil, "shop.test", "169.254.169.254", false},
		{"nor one of IPv6", nil, "shop.test", "fe80::1%eth0", false},
		{"nor one that is mapped", nil, "shop.test", "::ffff:169.254.169.254", false},
		{"nor one behind NAT64", nil, "shop.test", "64:ff9b::a9fe:a9fe", false},
		{"no metadata of AWS over IPv6", nil, "shop.test", "fd00:ec2::254", false},
		{"no multicast", nil, "shop.test", "ff05::2", false},
		{"no metadata of Alibaba", nil, "shop.test", "100.100.100.200", false},
		{"a listed host", []string{"Shop.test"}, "shop.test.", "192.0.2.1", true},
		{"no other host", []string{"shop.test"}, "blog.test", "192.0.2.1", false},
		{"a host below a listed domain", []string{"*.test"}, "shop.test", "192.0.2.1", true},
		{"not the domain itself", []string{"*.shop.test"}, "shop.test", "192.0.2.1", false},
		{"not a domain that merely ends alike", []string{"*.shop.test"}, "myshop.test", "192.0.2.1", false},
		{"a listed address, whatever the host", []string{"192.0.2.1"}, "shop.test", "192.0.2.1", true},
		{"a listed network", []string{"192.0.2.0/24"}, "shop.test", "192.0.2.7", true},
		{"no address outside of it", []string{"192.0.2.0/24"}, "shop.test", "198.51.100.7", false},
		{"a listed host that points at metadata", []string{"shop.test"}, "shop.test", "169.254.169.254", false},
		{"the whole network does not open metadata", []string{"0.0.0.0/0"}, "shop.test", "169.254.169.254", false},
		{"nor a mapped network around it", []string{"::ffff:0.0.0.0/96"}, "shop.test", "169.254.169.254", false},
		{"a mapped network is that of IPv4", []string{"::ffff:192.0.2.0/120"}, "shop.test", "192.0.2.7", true},
		{"metadata inside of 6to4", nil, "shop.test", "2002:a9fe:a9fe::1", false},
		{"metadata behind NAT64 of a local network", nil, "shop.test", "64:ff9b:1::a9fe:a9fe", false},
		{"metadata in a translated address", nil, "shop.test", "::ffff:0:a9fe:a9fe", false},
		{"metadata in a compatible address", nil, "shop.test", "::a9fe:a9fe", false},
		{"the unspecified address is this host", []string{"192.0.2.0/24"}, "shop.test", "0.0.0.0", false},
		{"which may be listed", []string{"127.0.0.0/8"}, "shop.test", "0.0.0.0", true},
		{"the unspecified address of IPv6 too", []string{"::1"}, "shop.test", "::", true},
		{"another way to write a listed name is another name", []string{"10.0.0.1"}, "167772161", "10.0.0.2", false},
		{"the very address does", []string{"169.254.169.254"}, "169.254.169.254", "169.254.169.254", true},
	} {
		allow, err := Guard(row.list)
		if err != nil {
			t.Errorf("%s: %v", row.about, err)
			continue
		}
		if err := allow(row.host, netip.MustParseAddr(row.address)); (err == nil) != row.allowed {
			t.Errorf("%s: the answer is %v", row.about, err)
		}
	}
}

func TestGuardRefusesBrokenLists(t *testing.T) {
	for _, entry := range []string{"", "*.", "*", "192.0.2.0/33", "https://shop.test", "shop.*.test", "shop.test:443"} {
		if _, err := Guard([]string{entry}); err == nil {
			t.Errorf("%q is accepted", entry)
		}
	}
}

func TestGuardPublic(t *testing.T) {
	for _, row := range []struct {
		about   string
		list    []string
		host    string
		address string
		allowed bool
	}{
		{"anybody on the internet", nil, "shop.test", "93.184.216.34", true},
		{"and over IPv6", nil, "shop.test", "2606:4700::1111", true},
		{"not this host", nil, "localhost", "127.0.0.1", false},
		{"nor by the unspecified address", nil, "shop.test", "0.0.0.0", false},
		{"nor mapped", nil, "shop.test", "::ffff:127.0.0.1", false},
		{"no private network", nil, "shop.test", "10.1.2.3", false},
		{"nor behind NAT64", nil, "shop.test", "64:ff9b::a01:203", false},
		{"no unique local address", nil, "shop.test", "fd12::1", false},
		{"no shared address space", nil, "shop.test", "100.64.0.1", false},
		{"no multicast", nil, "shop.test", "224.0.0.1", false},
		{"no metadata", nil, "shop.test", "169.254.169.254", false},
		{"a private network that is listed", []string{"10.0.0.0/8"}, "shop.test", "10.1.2.3", true},
		{"a private address that is listed", []string{"10.1.2.3"}, "shop.test", "10.1.2.3", true},
		{"a listed name that turns private", []string{"shop.test"}, "shop.test", "10.1.2.3", false},
		{"a listed name that is public", []string{"shop.test"}, "shop.test", "93.184.216.34", true},
		{"another name", []string{"shop.test"}, "blog.test", "93.184.216.34", false},
	} {
		allow, err := GuardPublic(row.list)
		if err != nil {
			t.Errorf("%s: %v", row.about, err)
			continue
		}
		if err := allow(row.host, netip.MustParseAddr(row.address)); (err == nil) != row.allowed {
			t.Errorf("%s: the answer is %v", row.about, err)
		}
	}
}

func FuzzGuard(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "::ffff:0:a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%eth0", "::"} {
		f.Add(seed, "shop.test")
	}
	everything, err := Guard([]string{"0.0.0.0/0", "::/0", "*.test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		if everything(host, address) == nil && address.Unmap().IsLinkLocalUnicast() {
			t.Errorf("%s at %s is allowed", host, address)
		}
	})
}
