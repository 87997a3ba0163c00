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
