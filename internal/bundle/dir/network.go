package dir

import "golang.org/x/sys/unix"

// Network returns the name of the network file system that the folder is on, for people; empty for
// others. The numbers are those of linux/magic.h.
func (s *Store) Network() string {
	var st unix.Statfs_t
	if err := unix.Statfs(s.root, &st); err != nil {
		return ""
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "cifs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.CEPH_SUPER_MAGIC:
		return "ceph"
	}
	return ""
}
