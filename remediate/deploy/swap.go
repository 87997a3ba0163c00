package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
)

// A destination that swaps keeps its files in a folder that a symbolic link leads to. A new
// version is written whole into a new folder beside the link, which is then led there by one
// rename: nobody ever sees files of two versions. The folders are named after the link, with
// a number that grows.

// folderMark is between the name of a link and the number of a folder.
const folderMark = ".certmedic-"

// keptFolders is how many folders stay that the link led to before.
const keptFolders = 1

// folder is a new folder that is written and waits for its link.
type folder struct {
	link, path string
	committed  bool
}

// swaps lists the links of a plan's files, each once.
func swaps(files []File) []string {
	var links []string
	for _, f := range files {
		if f.Swap != "" && !slices.Contains(links, f.Swap) {
			links = append(links, f.Swap)
		}
	}
	return links
}

// stageFolder writes the files that lie below a link into a new folder.
func (in *Installation) stageFolder(link string, files []File) error {
	before, err := leadsTo(link)
	if err != nil {
		return err
	}
	if err := sweepFolders(link); err != nil { // so that what it leads to now is the one that is kept
		return err
	}
	files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return f.Swap != link })
	if err := onlyOurs(link, files); err != nil {
		return err
	}
	numbers, err := folderNumbers(link)
	if err != nil {
		return err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	f := &folder{link: link, path: link + folderMark + strconv.Itoa(next)}
	if err := f.write(files); err != nil {
		return errors.Join(err, f.abort())
	}
	in.folders = append(in.folders, f)
	in.changes = append(in.changes, certmedic.Change{
		Path: link, UID: -1, GID: -1, LinkBefore: before, LinkAfter: filepath.Base(f.path),
	})
	return nil
}

// leadsTo returns what a link says; empty where there is none.
func leadsTo(link string) (string, error) {
	info, err := os.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("it is a folder, which cannot be replaced by one rename; make it a link, once, by: mv %[1]s %[1]s.1 && ln -s %[2]s.1 %[1]s", link, filepath.Base(link))
	case info.Mode()&fs.ModeSymlink == 0:
		return "", errors.New("it is neither a symbolic link nor missing")
	}
	if info, err = os.Stat(link); err != nil || !info.IsDir() {
		return "", errors.New("it does not lead to a folder")
	}
	return os.Readlink(link)
}

// onlyOurs proves that a folder holds no file that the new one would lack.
func onlyOurs(link string, files []File) error {
	root, err := filepath.EvalSymlinks(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(files, func(f File) bool { return filepath.Clean(f.To) == filepath.Join(link, below) }) {
			return fmt.Errorf("its folder holds %q, which is no file of the destination and would be lost", below)
		}
		return nil
	})
}

// folderNumbers returns the numbers of the folders of a link, smallest first.
func folderNumbers(link string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(link))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if n := folderNumber(link, e.Name()); n > 0 && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// folderNumber returns the number of a folder of a link by its name; 0 where it is none.
func folderNumber(link, name string) int {
	digits, ok := strings.CutPrefix(name, filepath.Base(link)+folderMark)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

// write makes the folder and its files, each like the one that it replaces.
func (f *folder) write(files []File) error {
	if err := atomicfile.MkdirLike(f.path, f.link); err != nil {
		return err
	}
	for _, file := range files {
		below, err := filepath.Rel(f.link, file.To)
		if err != nil || !filepath.IsLocal(below) || below == "." {
			return fmt.Errorf("%q does not lie below it", file.To)
		}
		if err := f.mkdirs(filepath.Dir(below)); err != nil {
			return err
		}
		staged, err := file.stageAt(filepath.Join(f.path, below))
		if err != nil {
			return err
		}
		if err := staged.Commit(); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(filepath.Dir(f.path))
}

// mkdirs makes the folders that lead to a file, each like the one that was there.
func (f *folder) mkdirs(below string) error {
	if below == "." {
		return nil
	}
	if err := f.mkdirs(filepath.Dir(below)); err != nil {
		return err
	}
	err := atomicfile.MkdirLike(filepath.Join(f.path, below), filepath.Join(f.link, below))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return errors.Join(err, atomicfile.SyncDir(filepath.Join(f.path, filepath.Dir(below))))
}

// commit leads the link to the folder.
func (f *folder) commit() error {
	if err := atomicfile.Link(filepath.Base(f.path), f.link); err != nil {
		return err
	}
	f.committed = true
	return nil
}

func (f *folder) abort() error {
	if f.committed {
		return nil
	}
	return os.RemoveAll(f.path)
}

// leadBack leads a link to where it led before, or takes it away where there was none.
func leadBack(c certmedic.Change) error {
	if c.LinkBefore != "" {
		if now, err := os.Readlink(c.Path); err == nil && now == c.LinkBefore {
			return nil
		}
		return atomicfile.Link(c.LinkBefore, c.Path)
	}
	info, err := os.Lstat(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return errors.New("it is no symbolic link any more")
	}
	return errors.Join(os.Remove(c.Path), atomicfile.SyncDir(filepath.Dir(c.Path)))
}

// Tidy removes folders that the links of changes led to, or were to lead to, but for the last
// before. Call it when the action that made the changes has ended.
func Tidy(changes []certmedic.Change) error {
	var errs []error
	for _, c := range changes {
		if c.LinkAfter != "" {
			errs = append(errs, sweepFolders(c.Path))
		}
	}
	return errors.Join(errs...)
}

// sweepFolders removes the folders of a link that it does not lead to: the newer ones, which
// were never put into use or were put back, and the older ones but for the last.
func sweepFolders(link string) error {
	numbers, err := folderNumbers(link)
	if errors.Is(err, fs.ErrNotExist) || len(numbers) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweeping the folders of %q: %w", link, err)
	}
	target, err := os.Readlink(link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweeping the folders of %q: %w", link, err)
	}
	current := folderNumber(link, filepath.Base(target))
	older := slices.DeleteFunc(slices.Clone(numbers), func(n int) bool { return n >= current })
	kept := append(older[max(0, len(older)-keptFolders):], current)
	var errs []error
	for _, n := range numbers {
		if !slices.Contains(kept, n) {
			errs = append(errs, os.RemoveAll(link+folderMark+strconv.Itoa(n)))
		}
	}
	return errors.Join(errs...)
}
