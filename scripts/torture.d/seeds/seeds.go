// Package seeds runs seed after seed and tells what came of them: a line each, figures
// as JSON, and a section of the results page.
package seeds

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Settings of a run.
type Settings struct {
	Seeds         int
	Seed          uint64
	JSON, Results string
	Keep          bool
}

// Flags names the settings on the command line. Seeds keeps its value as the default.
func (s *Settings) Flags(f *flag.FlagSet) {
	f.IntVar(&s.Seeds, "seeds", s.Seeds, "how many")
	f.Uint64Var(&s.Seed, "seed", 1, "the first")
	f.StringVar(&s.JSON, "json", "", "file for the figures")
	f.StringVar(&s.Results, "results", "", "page for the sums")
	f.BoolVar(&s.Keep, "keep", false, "keep the directories of bad seeds")
}

// Verdict is what came of one seed.
type Verdict interface {
	Bad() bool
	Line() string    // under the header of the run
	Trouble() string // of a bad one
}

// Run runs the seeds one after the other until ctx ends, and returns the verdicts on
// those that came to their end.
func Run[V Verdict](ctx context.Context, s Settings, header string,
	one func(context.Context, uint64) V) (all []V) {
	fmt.Println(header)
	for i := range s.Seeds {
		v := one(ctx, s.Seed+uint64(i))
		if ctx.Err() != nil {
			break // not the victim's fault
		}
		all = append(all, v)
		fmt.Println(v.Line())
		if v.Bad() {
			fmt.Println("       BAD:", v.Trouble())
		}
	}
	return all
}

// Sum is what came of all seeds.
type Sum interface {
	Line() string
	Section(command string) string // of the page, in Markdown
	Wrong() bool
}

var errWord = errors.New("it did not keep its word, or nothing was tried")

// Tell prints the sum and writes what was asked for. It returns an error when something
// went wrong in a seed.
func Tell[V Verdict](s Settings, victim, size string, all []V, sum Sum) error {
	fmt.Println(sum.Line())
	if s.JSON != "" {
		b, err := json.MarshalIndent(map[string]any{"sum": sum, "seeds": all}, "", " ")
		if err == nil {
			err = os.WriteFile(s.JSON, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if s.Results != "" {
		command := fmt.Sprintf("scripts/torture %s --seeds %d --seed %d %s", victim, len(all), s.Seed, size)
		if err := writeSection(s.Results, victim, sum.Section(command)); err != nil {
			return err
		}
	}
	if sum.Wrong() {
		return fmt.Errorf("%s: %w", victim, errWord)
	}
	return nil
}

const title = "# What torture has shown\n\nWritten by `scripts/torture NAME --results`. Do not edit.\n"

// writeSection replaces the section of a name, and leaves the others as they are.
func writeSection(path, name, body string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(replaceSection(string(old), name, body)), 0o644)
}

func replaceSection(page, name, body string) string {
	mine := fmt.Sprintf("\n## %s\n\n%s", name, body)
	head, rest, found := strings.Cut(page, "\n## "+name+"\n")
	if !found {
		if page == "" {
			page = title
		}
		return page + mine
	}
	if at := strings.Index(rest, "\n## "); at >= 0 {
		mine += rest[at:]
	}
	return head + mine
}

// Kept puts a bad seed's directory where scripts/torture leaves it, and says so.
func Kept(dir string) string {
	to := filepath.Join(filepath.Dir(dir), "kept-"+filepath.Base(dir))
	if err := os.Rename(dir, to); err != nil {
		return err.Error()
	}
	return "kept " + to
}

// Today is the date of a section.
func Today() string { return time.Now().UTC().Format(time.DateOnly) }

// Count returns the rows of a table of how often each fault came.
func Count(faults map[string]int) string {
	var b strings.Builder
	b.WriteString("| fault | times |\n|---|---|\n")
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", f, faults[f])
	}
	return b.String()
}
