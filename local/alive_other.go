//go:build unix && !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
)

// alive is false for a zombie too.
func alive(pid int) bool {
	state := ps(pid, "state=")
	return state != "" && !strings.HasPrefix(state, "Z")
}

// serves says whether the process is a postgres of this data directory, by its command line.
func serves(pid int, data string) bool {
	command := ps(pid, "command=")
	return alive(pid) && isPostgresOf(commandWords(command), data)
}

// commandWords cuts the program off the rest: a path may hold spaces, as in Postgres.app's.
func commandWords(command string) []string {
	program, rest, found := strings.Cut(command, " -D ")
	if !found {
		return nil
	}
	return []string{program, "-D", rest}
}

func ps(pid int, format string) string {
	out, err := exec.Command("ps", "-ww", "-o", format, "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
