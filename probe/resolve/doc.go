// Package resolve looks up the addresses of a host: the hosts file first, then DNS over
// UDP and TCP with servers of its own choice. It asks DNS for records of other types as
// well, and tells whether DNSSEC vouches for them. The prober and its parts call it.
//
// It promises every address of both families, in a stable order, and an error that
// tells "there is no such name" from "nobody could be asked". Answers are used again for
// as long as they allow it, half a minute at most, and all who ask the same at the same
// time share one exchange. The name service switch (nsswitch.conf) and multicast DNS are
// left to others, and so is the verifying of DNSSEC signatures: a resolver that can be
// believed does that.
package resolve
