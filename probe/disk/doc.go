// Package disk reads what a source keeps on disk: certbot lineages, plain PEM files and
// key stores, the locks that guard them and the hooks that belong to them. A [Watcher]
// tells when they change. [Reader.ReadPath] reads whatever a person names, a kubeconfig
// and the trees of other ACME clients among it.
//
// It is called by the loop that joins the verbs, by `check` for targets that are
// paths, and by whoever discovers a host. It promises three things. It reads files
// and never writes one, never takes a lock and never calls certbot. It never loses a
// fact because of another: what is wrong becomes a finding that names its place, and
// everything else is still returned. A private key is used to see whether it belongs
// to its certificate and is forgotten at once; no error and no finding quotes any of
// it.
//
// certbot's files are read as certbot 5.6 reads them (its storage.py, renewal.py and
// hooks.py), with the differences of older versions where they matter.
package disk
