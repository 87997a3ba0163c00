// Package fleet holds the proofs that several certmedics and their shared storage work with the
// real programs: servers of S3 and etcd, and throwaway hosts. `make test` runs it.
package fleet
