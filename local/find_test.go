package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionOfAReleaseIsReadAndABetaRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]int{
		"postgres (PostgreSQL) 18.3\n":                           {18, 3},
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": {15, 18},
	} {
		if major, minor, err := parseVersion(line); err != nil || [2]int{major, minor} != want {
			t.Errorf("%q: %d.%d, %v", line, major, minor, err)
		}
	}
	for _, line := range []string{"", "postgres (PostgreSQL) 18beta1", "postgres (PostgreSQL) 19devel",
		"psql 15.1"} {
		if _, _, err := parseVersion(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// fakeInstallation answers --version and does nothing else: choosing asks for no more.
func fakeInstallation(t *testing.T, version string) string {
	t.Helper()
	dir := openDir(t)
	for _, name := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Not parallel: it sets PATH.
func TestNewestSupportedPostgresIsChosenUnlessDataAskForAnother(t *testing.T) {
	old, newest := fakeInstallation(t, "15.3"), fakeInstallation(t, "18.99")
	tooNew := fakeInstallation(t, "19.1")
	link := filepath.Join(openDir(t), "bin")
	if err := os.MkdirAll(link, 0o755); err != nil {
		t.Fatal(err)
	}
	err := os.Symlink(filepath.Join(newest, "postgres"), filepath.Join(link, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", strings.Join([]string{tooNew, old, link, os.Getenv("PATH")}, ":"))
	s := findInstallations(t.Context(), nil)
	if inst, err := s.pick(0); err != nil || inst.dir != newest {
		t.Errorf("newest: %+v, %v", inst, err)
	}
	if inst, err := s.pick(15); err != nil || inst.major != 15 {
		t.Errorf("version 15: %+v, %v", inst, err)
	}
	_, err = s.pick(16)
	if err == nil || !strings.Contains(err.Error(), tooNew) {
		t.Errorf("version 16: %v", err)
	}
}

func TestBinariesDirectoryThatDoesNotFitIsNamed(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{fakeInstallation(t, "14.2"), t.TempDir()} {
		_, err := StartPostgres(context.Background(), PostgresOptions{Dir: openDir(t), Binaries: dir})
		if err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
