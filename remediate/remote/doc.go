// Package remote installs a version of a certificate on another host, over ssh, with the promises
// that a deployment on this host has. The remediator calls [Deploy] for each host of a destination,
// verifies by new handshakes with that very host, and ends the deployment by [Deployment.Keep] or
// [Deployment.PutBack].
//
// The new files are staged beside their targets in a folder that nobody else can read, synced where
// the server offers that, read back, and renamed over the targets; then come the service's own
// commands. What was there before is kept on the host until the deployment is over. A journal on the
// host, written before the first file and again before the first rename, makes the next session end
// what a cut connection or a killed certmedic left: it finishes the same version, or puts back.
//
// Two certmedics never harm each other. Each deployment carries a token that grows with every
// change of the one who acts. The host keeps the highest, and a lower one is refused before anything
// is staged. A deployment that is under way there is claimed by the next one, by renaming its journal,
// and what it had staged is removed: when the earlier one comes back it finds neither its files nor
// its journal, and has nothing left to rename.
//
// What an ssh host cannot be given over sftp is not kept: access control lists and extended attributes
// of the files that are replaced. SELinux labels them as new files of their folder. The steps of
// certmedic's own, HAProxy's runtime socket and signals, are for this host only.
package remote
