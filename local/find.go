package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oldestMajor and newestMajor bound the PostgreSQL versions that the schema is tested with.
const (
	oldestMajor = 15
	newestMajor = 18
)

// errNoPostgres means that this machine has no PostgreSQL that fits.
var errNoPostgres = errors.New("no PostgreSQL found")

// installation is one directory with postgres and initdb in it.
type installation struct {
	dir          string // absolute, symbolic links resolved
	major, minor int
}

func (i installation) program(name string) string { return filepath.Join(i.dir, name) }

func (i installation) version() string { return fmt.Sprintf("%d.%d", i.major, i.minor) }

// search is what one look over the machine found and what it passed over.
type search struct {
	found  []installation // newest first
	passed []string       // "directory: why not"
}

// wellKnown are the places that packages of PostgreSQL use without putting them on PATH.
func wellKnown() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// findInstallations asks every postgres on PATH and in the well-known places for its version.
func findInstallations(ctx context.Context, as *account) search {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// A relative entry would run whatever lies in the current directory.
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, pattern := range wellKnown() {
		matches, _ := filepath.Glob(pattern)
		dirs = append(dirs, matches...)
	}
	var s search
	seen := map[string]bool{}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || seen[filepath.Dir(real)] {
			continue
		}
		seen[filepath.Dir(real)] = true
		if inst, err := inspect(ctx, filepath.Dir(real), as); err != nil {
			s.passed = append(s.passed, fmt.Sprintf("%s: %v", filepath.Dir(real), err))
		} else {
			s.found = append(s.found, inst)
		}
	}
	slices.SortStableFunc(s.found, func(a, b installation) int {
		return cmp.Or(cmp.Compare(b.major, a.major), cmp.Compare(b.minor, a.minor))
	})
	return s
}

// pick returns the newest installation, or the newest of one major when major is not 0.
func (s search) pick(major int) (installation, error) {
	for _, inst := range s.found {
		if major == 0 || inst.major == major {
			return inst, nil
		}
	}
	wanted := fmt.Sprintf("version %d to %d", oldestMajor, newestMajor)
	if major != 0 {
		wanted = fmt.Sprintf("version %d", major)
	}
	passed := slices.Clone(s.passed)
	for _, inst := range s.found {
		passed = append(passed, inst.dir+": is "+inst.version())
	}
	if len(passed) > 0 {
		passed = []string{"; passed over " + strings.Join(passed, ", ")}
	}
	return installation{}, fmt.Errorf("%w: looked for %s on PATH and in %s%s",
		errNoPostgres, wanted, strings.Join(wellKnown(), ", "), strings.Join(passed, ""))
}

// inspect says whether a directory holds a PostgreSQL that we can run as the given user.
func inspect(ctx context.Context, dir string, as *account) (installation, error) {
	inst := installation{dir: dir}
	for _, name := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(inst.program(name)); err != nil || info.Mode()&0o111 == 0 {
			return inst, fmt.Errorf("has no %s", name)
		}
	}
	if blocked := as.blockedAt(inst.program("postgres")); blocked != "" {
		return inst, fmt.Errorf("user %s may not enter %s", as.name, blocked)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, inst.program("postgres"), "--version").Output()
	if err != nil {
		return inst, fmt.Errorf("ask its version: %w", err)
	}
	inst.major, inst.minor, err = parseVersion(string(out))
	if err == nil && (inst.major < oldestMajor || inst.major > newestMajor) {
		err = fmt.Errorf("is %s, not %d to %d", inst.version(), oldestMajor, newestMajor)
	}
	return inst, err
}

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian …)". Betas ("18beta1") are refused:
// their data directories do not open with the release.
func parseVersion(s string) (major, minor int, err error) {
	m := regexp.MustCompile(`\(PostgreSQL\) (\d+)\.(\d+)(\s|$)`).FindStringSubmatch(s)
	if m == nil {
		return 0, 0, fmt.Errorf("is no release of PostgreSQL: %q", strings.TrimSpace(s))
	}
	if major, err = strconv.Atoi(m[1]); err != nil {
		return 0, 0, err
	}
	minor, err = strconv.Atoi(m[2])
	return major, minor, err
}
