package local

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// alive is false for a zombie too: in a container without an init nobody collects an orphan.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the name, which is in parentheses and may hold any byte.
	rest := b[bytes.LastIndexByte(b, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("Z"))
}

// serves says whether the process is a postgres of this data directory: a server's working
// directory is its data directory. Without the right to see that, its command line decides.
func serves(pid int, data string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	if err != nil || !isPostgres(args) || !alive(pid) {
		return false
	}
	if cwd := fmt.Sprintf("/proc/%d/cwd", pid); readable(cwd) {
		return sameDir(cwd, data)
	}
	return isPostgresOf(args, data)
}

func readable(link string) bool {
	_, err := os.Readlink(link)
	return err == nil
}
