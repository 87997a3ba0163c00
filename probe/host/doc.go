// Package host holds no code of its own: its parts measure the host that certificates live
// on, one kind of evidence each. acmelog reads what ACME clients wrote, schedule what starts
// them, unit what systemd says of its units, script what hooks would do, service how services
// are configured, process what runs and what it has open, access who may read a file, reach
// what a CA would see from outside.
//
// internal/diagnose and internal/audit call them. Every part promises the same: it changes
// nothing, takes no lock and executes no program; what it cannot see is told as such and hides
// nothing else; what it reads is bounded in size, number and time; and each fact says where it
// is from, as a file and a line that a person can open.
package host
