// Package dir is the coordinator in a folder that members share, for where there is nothing better: it
// is the last resort, and a network file system between the members decides how good it is.
// The app uses it where the configuration names such a folder.
//
// Each object is a folder, and each version of it a file whose name is its generation. A writer prepares its
// file under another name and links it to the next generation, which one of several writers achieves, and then
// looks whether it is the newest: a writer that was paused may have linked the generation of long ago, whose file was
// removed meanwhile. Files of a few generations stay for slow readers. Time is that of the file system, which sets
// the times of files: its server's, on a network.
//
// It relies on link(2) refusing a name that is taken, and on listings that show one's own writes; [Open] tries both and refuses
// a folder without them. Attributes that a network file system caches make others' changes known late, which
// delays a member and lets none act too early.
package dir
