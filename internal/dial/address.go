package dial

import (
	"fmt"
	"net/netip"
)

// never holds the addresses that no allow-list opens: those at which clouds
// hand out credentials to whoever runs on their machines.
var never = prefixes(
	"169.254.169.254/32", // AWS, Azure, Google, Oracle, OpenStack and others
	"169.254.169.253/32", // AWS's resolver
	"169.254.169.123/32", // AWS's clock
	"169.254.170.2/32",   // credentials of AWS's containers
	"169.254.170.23/32",  // the same for pods
	"100.100.100.200/32", // Alibaba
	"168.63.129.16/32",   // Azure's host, at a public address
	"192.0.0.192/32",     // Oracle
	"fd00:ec2::/32",      // AWS over IPv6
	"fd20:ce::254/128",   // Google over IPv6
	"0.0.0.0/8", "::/128",
	"224.0.0.0/4", "ff00::/8", "255.255.255.255/32",
)

// notGlobal holds what the IANA registries of special-purpose addresses do not
// call globally reachable, and what is translated into an address of the other
// family, so that its own text says nothing of where it leads.
var notGlobal = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001::/23",     // Teredo, ORCHID, benchmarks and other protocols
	"2001:db8::/32", // examples
	"2002::/16",     // 6to4: the next 32 bits are an IPv4 address
	"3fff::/20",     // examples
)

// unicast6 is all of IPv6 that is given out for use on the Internet. What lies
// outside of it is local, translated (64:ff9b::/96, ::ffff:0:0/96) or unused.
var unicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

func in(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Permits tells whether an address may be connected to: a public unicast
// address, or one that the operator allows. An IPv4 address written as IPv6 is
// the IPv4 address; one with a zone is of this link, and refused.
func (d *Dialer) Permits(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || in(never, a) {
		return false
	}
	if in(d.allow, a) {
		return true
	}
	return !in(notGlobal, a) && (a.Is4() || unicast6.Contains(a))
}

// ParseAllowed reads one entry of the operator's allow-list: an address or a
// prefix in CIDR form whose host part is zero.
func ParseAllowed(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, errAddr := netip.ParseAddr(text)
		if errAddr != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix such as 10.1.2.0/24", text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write an IPv4 address as such", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its prefix: write %s", text, p.Masked())
	case p.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%q would allow every address: name those that are needed", text)
	}
	return p, nil
}
