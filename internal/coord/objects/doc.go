// Package objects makes a coordinator of any store of small objects that can compare and swap: a
// bucket, or a folder. The packages s3 and dir give it such a store and call it; coordtest gives
// it one in memory.
//
// A lease is one object for each name. It is never removed, so that its generation, which is the
// token, only grows: whoever finds it ended swaps in the next generation, and of several that
// try one succeeds. Ended means that the time to live has passed between two readings of the store's own
// clock, that of the write and that of now; clocks of members are never compared with each other.
// A record is an object too, with its revision and token in it. A member that lives swaps its object
// every third of the time to live, and the others look as often.
package objects
