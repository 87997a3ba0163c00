// Package resolve looks up the addresses of a host: the hosts file first, then DNS over
// UDP and TCP with servers of its own choice. The prober calls it.
//
// It promises every address of both families, in a stable order, and an error that
// tells "there is no such name" from "nobody could be asked". It asks again on each
// call and keeps no answers. The name service switch (nsswitch.conf) and multicast DNS
// are left to others.
package resolve
