package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root has another user to run PostgreSQL as")
	}
}

func uidOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestAsRootPostgresRunsAsAnotherUser(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	dir := filepath.Join(openDir(t), "data")
	release, err := Lock(dir) // makes it 0700, as footfall up does
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	p := startPostgres(t, PostgresOptions{Dir: dir})
	data := ask(t, p.URL(), "select current_setting('data_directory')")
	if !strings.HasPrefix(data, dir+"/") {
		t.Errorf("data went to %s though its user could be let into %s", data, dir)
	}
	info, err := os.Stat(data)
	if err != nil || uidOf(t, data) == 0 || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, uid %d, %v", info.Mode(), uidOf(t, data), err)
	}
	out, err := exec.Command("ps", "-o", "uid=", "-p", fmt.Sprint(p.process.pid)).Output()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(uidOf(t, data)) {
		t.Errorf("postgres runs as %q: %v", out, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o710 || uidOf(t, dir) != 0 {
		t.Errorf("our directory: %v, %v", info.Mode(), err)
	}
}

func TestAsRootPostgresLivesElsewhereBelowAClosedDirectory(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	closed := openDir(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "data")
	t.Cleanup(func() {
		if err := os.RemoveAll(outsideDir(dir)); err != nil {
			t.Error(err)
		}
	})
	p := startPostgres(t, PostgresOptions{Dir: dir})
	data := ask(t, p.URL(), "create table kept (x text)", "insert into kept values ('row')",
		"select current_setting('data_directory')")
	if !strings.HasPrefix(data, outsideDir(dir)+"/") {
		t.Errorf("data went to %s", data)
	}
	note, err := os.ReadFile(filepath.Join(dir, "postgres.location"))
	if err != nil || !strings.Contains(string(note), outsideDir(dir)) {
		t.Errorf("note: %q, %v", note, err)
	}
	stop(t, p)
	moved := filepath.Join(closed, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	p = startPostgres(t, PostgresOptions{Dir: moved})
	if got := ask(t, p.URL(), "select x from kept"); got != "row" {
		t.Errorf("after a move: %q", got)
	}
}

func TestNoteThatLeadsElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/", "/etc", outside, outside + "/../etc", outside + "/a/b"} {
		if dir, err := readSign(text); err == nil {
			t.Errorf("%q led to %s", text, dir)
		}
	}
	if dir, err := readSign("files are in:\n" + outside + "/ab12\n"); err != nil || dir == "" {
		t.Error(dir, err)
	}
}
