// Package coordtest holds what every coordinator has to keep: [Test] is called by the tests of each
// engine, in virtual time where the engine has no network of its own. [Memory] is a store in memory, for
// tests of what is built upon a coordinator.
package coordtest
