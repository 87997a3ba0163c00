package script

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/syntax"

	"github.com/certmedic/certmedic/probe/host/access"
)

// maxScript bounds what is parsed, in bytes. Of a larger file only the first line is judged.
const maxScript = 128 << 10

// open reads the file and looks at its modes. It says false where there is nothing to judge.
func (s *Script) open(e Environment) ([]byte, bool) {
	real := e.Root + s.Path
	info, err := os.Stat(real)
	if err != nil {
		s.problem("unreadable", 0, reason(err), "")
		return nil, false
	}
	s.Mode = info.Mode().Perm()
	s.Owner = owner(real)
	if !info.Mode().IsRegular() {
		s.problem("unreadable", 0, "it is not a regular file", "")
		return nil, false
	}
	s.checkModes(real, e)
	f, err := os.Open(real)
	if err != nil {
		s.problem("unreadable", 0, reason(err), "")
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		s.problem("unreadable", 0, reason(err), "")
		return nil, false
	}
	return data, true
}

func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// owner returns whose a file is, by the names of the local databases.
func owner(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	facts, err := access.Look(path)
	if err != nil {
		return ""
	}
	return facts.Owner
}

func (s *Script) checkModes(real string, e Environment) {
	if s.Mode&0o111 == 0 {
		s.problem("not_executable", 0, fmt.Sprintf("its mode is %04o: nobody may execute it", s.Mode), "chmod u+x "+quoted(s.Path))
	}
	var st unix.Statfs_t
	if unix.Statfs(real, &st) == nil && st.Flags&unix.ST_NOEXEC != 0 {
		s.problem("not_executable", 0, "its file system is mounted noexec", "mount -o remount,exec "+mountHint(quoted(s.Path)))
	}
	if strings.HasSuffix(s.Path, "~") && e.Kind != Job {
		s.problem("name", 0, "certbot skips files whose names end with ~", "mv "+quoted(s.Path)+" "+quoted(strings.TrimRight(s.Path, "~")))
	}
}

func mountHint(path string) string { return `"$(findmnt -no TARGET -T ` + path + `)"` }

// judge finds out what a file is, and looks into it where it is a shell script.
func (s *Script) judge(data []byte, e Environment) {
	switch {
	case bytes.HasPrefix(data, []byte(elf.ELFMAG)):
		s.Language = "binary"
		s.checkMachine(data)
		return
	case bytes.IndexByte(data[:min(len(data), 512)], 0) >= 0:
		s.problem("exec_format", 0, "it is neither a script nor a program of Linux", "file "+quoted(s.Path))
		return
	case len(bytes.TrimSpace(data)) == 0:
		s.problem("exec_format", 0, "it is empty: it does nothing, and ends as if it had", "")
		return
	}
	s.Lines = bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) + 1
	if rest, bom := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); bom {
		s.problem("exec_format", 1, "it begins with a byte order mark, before which the kernel does not see #!", `sed -i '1s/^\xef\xbb\xbf//' `+quoted(s.Path))
		data = rest
	}
	options := s.firstLine(data, e)
	if s.Language != "sh" && s.Language != "bash" || len(data) > maxScript {
		return
	}
	if line := crlf(data); line > 0 && len(s.Problems) == 0 {
		s.problem("crlf", line, "its lines end with CR LF, as on Windows: the shell takes the CR for a part of the command", "sed -i 's/\\r$//' "+quoted(s.Path))
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	data = bytes.ToValidUTF8(data, []byte("?")) // shells take any byte, as in comments of older encodings; the parser does not
	s.shell(data, e, options...)
}

// crlf returns the first line that ends with CR LF, 0 where there is none.
func crlf(data []byte) int {
	at := bytes.Index(data, []byte("\r\n"))
	if at < 0 {
		return 0
	}
	return bytes.Count(data[:at], []byte("\n")) + 1
}

// firstLine finds the interpreter, and returns its options.
func (s *Script) firstLine(data []byte, e Environment) []string {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	text, ok := strings.CutPrefix(string(line), "#!")
	if !ok {
		s.Interpreter, s.Language = "/bin/sh", "sh" // what /bin/sh -c does with what the kernel refuses
		return nil
	}
	if strings.HasSuffix(text, "\r") {
		text = strings.TrimSuffix(text, "\r")
		s.problem("crlf", 1, fmt.Sprintf("its first line ends with CR LF, so %q with a CR in its name is looked for", strings.TrimSpace(text)), "sed -i 's/\\r$//' "+quoted(s.Path))
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		s.problem("no_interpreter", 1, "its first line names no interpreter", "")
		return nil
	}
	s.Interpreter = words[0]
	name, options := path.Base(words[0]), words[1:]
	if name == "env" {
		name, options = s.throughEnv(options, e)
	} else if !executable(e.Root + words[0]) {
		s.problem("no_interpreter", 1, fmt.Sprintf("%s does not exist, or cannot be executed", words[0]), interpreterFix(s.Path, name, `^#![ \t]*[^ \t]*`))
	}
	s.Language = language(name)
	return options
}

// throughEnv finds the interpreter that env(1) will look for in PATH.
func (s *Script) throughEnv(words []string, e Environment) (string, []string) {
	for len(words) > 0 && (strings.HasPrefix(words[0], "-") || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	if len(words) == 0 {
		s.problem("no_interpreter", 1, "its first line names no interpreter", "")
		return "", nil
	}
	if found, elsewhere := find(words[0], e); found == "" {
		text := fmt.Sprintf("env does not find %q with PATH=%s", words[0], e.Path)
		if elsewhere != "" {
			text += "; it is " + elsewhere
		}
		s.problem("no_interpreter", 1, text, interpreterFix(s.Path, words[0], "^#!.*"))
	}
	return path.Base(words[0]), words[1:]
}

// interpreterFix puts the place of an interpreter into the first line, in place of what the pattern
// matches there. Where there is none, the line stays as it is.
func interpreterFix(script, name, pattern string) string {
	return fmt.Sprintf(`found=$(command -v -- %s) && sed -i "1s|%s|#!$found|" %s`, quoted(name), pattern, quoted(script))
}

// quoted returns a word as a person can paste it into a shell, however it is made.
func quoted(word string) string {
	q, err := syntax.Quote(word, syntax.LangBash)
	if err != nil { // only for a NUL, which no name of a file has
		return "''"
	}
	return q
}

// language names what an interpreter reads, versions left out.
func language(name string) string {
	switch name {
	case "sh", "dash", "ash", "busybox":
		return "sh"
	case "bash", "rbash":
		return "bash"
	}
	return strings.TrimRight(name, "0123456789.")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// checkMachine sees whether a binary is one of this machine.
func (s *Script) checkMachine(data []byte) {
	f, err := elf.NewFile(bytes.NewReader(data[:min(len(data), 64)]))
	var machine elf.Machine
	switch {
	case err == nil:
		machine = f.Machine
	case len(data) >= 20: // its tables lie behind what was read
		order := int(data[5])
		machine = elf.Machine(uint16(data[18]) | uint16(data[19])<<8)
		if order == int(elf.ELFDATA2MSB) {
			machine = elf.Machine(uint16(data[19]) | uint16(data[18])<<8)
		}
	default:
		s.problem("exec_format", 0, "the program is cut off within its header", "file "+quoted(s.Path))
		return
	}
	own := machines(runtime.GOARCH)
	if len(own) > 0 && !slices.Contains(own, machine) && !emulated() {
		s.problem("exec_format", 0, fmt.Sprintf("it is a program for %s, and this machine is %s", machine, runtime.GOARCH), "file "+quoted(s.Path))
	}
}

// machines returns what a machine can run; none where that is not known.
func machines(arch string) []elf.Machine {
	return map[string][]elf.Machine{
		"amd64":   {elf.EM_X86_64, elf.EM_386},
		"386":     {elf.EM_386},
		"arm64":   {elf.EM_AARCH64, elf.EM_ARM},
		"arm":     {elf.EM_ARM},
		"riscv64": {elf.EM_RISCV},
		"ppc64le": {elf.EM_PPC64},
		"s390x":   {elf.EM_S390},
	}[arch]
}

// emulated reports whether programs of other machines are run by an emulator.
func emulated() bool {
	found, _ := filepath.Glob("/proc/sys/fs/binfmt_misc/qemu-*")
	return len(found) > 0
}
