// Package coord lets several certmedics agree on who acts. One member holds a lease for a
// certificate and with it a token that only grows; what is published, installed or ordered
// carries the token, and whoever keeps it refuses a lower one. So a member that was paused and
// comes back late harms nothing: the write is fenced, not the lock.
//
// The app makes an [Engine] and has a [Keeper] hold the leases of what it looks after. Engines
// are in the packages below: embedded for a single host, etcd, s3, and dir as the last resort;
// all are checked by coordtest.Test. An engine promises that of two members at most one
// holds a lease at a time as long as clocks run at the same speed, and that a token is never
// given twice. It does not promise that nobody acts after its lease ended: that is what tokens
// are for.
//
// An engine is one session of a member. The same member started again is another session: it has
// what it held before again only once that lease ended, so that two processes that were given one
// name by mistake do not both act. Watching needs no coordinator: without it, nothing here blocks
// for longer than the engine's bound on a call.
package coord
