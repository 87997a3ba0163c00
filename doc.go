// Package certmedic holds the nouns that the verbs of this house exchange: what a
// [Certificate] is, what a probe saw ([Observation]), what is kept ([Stored]), what
// is wrong ([Finding]), what a rule says about it ([Incident], [Transition]) and
// what was done ([Action], [Outcome]).
//
// Every other package imports this one and it imports the standard library only. It
// does no I/O, keeps no log and reads no clock. A type enters when two verbs need it.
//
// The one idea behind the nouns: a certificate has a way to go,
//
//	issued → stored → deployed → loaded → served
//
// and a version of it (its leaf's SHA-256) can stop at any stage of that way.
package certmedic
