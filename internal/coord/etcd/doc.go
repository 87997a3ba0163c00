// Package etcd is the coordinator on an etcd cluster, v3 API, the one to choose where there is one. The app makes it
// where the configuration names endpoints.
//
// A session is one etcd lease, kept alive every third of its time to live; the keys of what the member
// holds, and of the member itself, hang on it and go with it. The token of a lease is the create revision of its key:
// the revision of an etcd cluster counts every write, so no token is ever given twice, also after keys are
// gone (a cluster that is restored from an old backup counts from there: use etcdutl's --bump-revision). A
// record is a key; its revision is the key's.
//
// A session is over by this member's own clock before etcd says so: it counts from before each request to keep it alive. Then
// all leases are lost at once, etcd is told to forget the session, and a new one begins when something is
// asked for.
package etcd
