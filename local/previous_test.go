package local

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPostgresOfAKilledProcessIsStoppedAndItsDataKept(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	old, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "pid "))
	if err != nil {
		t.Fatalf("child says %q", line)
	}
	_, err = StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if !errors.Is(err, ErrLocked) || !alive(old) {
		t.Fatalf("start beside a living one: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if !alive(old) {
		t.Fatal("the server went with its parent: nothing left to test")
	}
	p := startPostgres(t, PostgresOptions{Dir: dir})
	if alive(old) || p.process.pid == old {
		t.Errorf("the old server %d is still there", old)
	}
	ask(t, p.URL(), "select 'ok'")
}

func TestPostgresThatWasKilledStartsAgainWithWhatWasCommitted(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p := startPostgres(t, PostgresOptions{Dir: dir})
	ask(t, p.URL(), "create table kept (x text)", "insert into kept values ('row')", "select 'ok'")
	if err := syscall.Kill(p.process.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.Done():
		t.Log(err)
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("its end was not told")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = startPostgres(t, PostgresOptions{Dir: dir})
	if got := ask(t, p.URL(), "select x from kept"); got != "row" {
		t.Errorf("kept %q", got)
	}
}

func TestForeignProcessInThePidFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	stop(t, startPostgres(t, PostgresOptions{Dir: dir}))
	h, err := openHome(dir, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	majors, err := h.majors()
	if err != nil || len(majors) != 1 {
		t.Fatal(majors, err)
	}
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = stranger.Wait(); close(ended) }()
	t.Cleanup(func() { _ = stranger.Process.Kill(); <-ended })
	data := h.data(majors[0])
	pidFile := filepath.Join(data, "postmaster.pid")
	text := fmt.Sprintf("%d\n%s\n", stranger.Process.Pid, data)
	if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.as.own(pidFile); err != nil {
		t.Fatal(err)
	}
	if previousPid(data) != stranger.Process.Pid {
		t.Fatal("the pid file was not read: nothing is tested")
	}
	if err := stopPrevious(t.Context(), data, testLog(t)); err != nil {
		t.Fatal(err)
	}
	if !alive(stranger.Process.Pid) {
		t.Error("a foreign process was ended")
	}
}

func TestServerOfAnotherDirectoryIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresOptions{Dir: openDir(t)})
	data := ask(t, p.URL(), "select current_setting('data_directory')")
	if !serves(p.process.pid, data) {
		t.Error("a server is not recognised by its own directory")
	}
	for _, other := range []string{filepath.Dir(data), openDir(t)} {
		if serves(p.process.pid, other) {
			t.Errorf("the server of %s is taken for that of %s", data, other)
		}
	}
	for line, want := range map[string]bool{
		"/usr/lib/postgresql/15/bin/postgres -D /data/15 -p 1": true,
		"/usr/lib/postgresql/15/bin/postgres -D /data/1":       false,
		"/usr/lib/postgresql/15/bin/postgres -D /data/15/x":    false,
		"/usr/bin/tail -D /data/15":                            false,
	} {
		if isPostgresOf(strings.Fields(line), "/data/15") != want {
			t.Errorf("%s: not %t", line, want)
		}
	}
}
