// Package ledger keeps account of what was spent of a CA's limits, and says whether another
// order may be placed: the limits are money, and what is spent of them comes back slowly.
//
// The remediator asks a [Book] before it renews ([Book.Ask]) and writes every order down before
// it is placed, and how it ended ([Book.Spend]); the app enters what others ordered, as the
// archives of their certificates tell ([Book.Learn]), so that a lost state folder does not fill
// the budget up again. [Balance] and [Allows] are pure.
//
// It promises never to count less than the CA does, as far as this host knows: an order whose end
// is not known counts as a certificate, a certificate of unknown account as one of each, and
// nothing comes back sooner than the CA gives it back. It keeps a reserve that automation does not
// spend, waits longer after each failure, also over a restart, and obeys a CA that asked for time.
// What other hosts ordered for the same names it cannot know.
package ledger
