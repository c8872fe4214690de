package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"footfall/collector/intake"
	"footfall/snippet"
)

// archive is a directory of files that never change, which this version of the program and
// those before it have built: a page pinned to one has it for as long as the directory
// is there. Nil keeps and finds nothing. Safe for concurrent use, also by several
// processes.
type archive struct {
	dir string

	mu    sync.Mutex
	found map[string]intake.Script
}

// pinnedName is a frozen file's; its hash is that of the file, or of all extensions that
// were built together.
var pinnedName = regexp.MustCompile(`^f(-[a-z]+)?\.[0-9a-f]{8,16}\.js$`)

// foundMax bounds what is remembered of older versions.
const foundMax = 100

func openArchive(dir string) (*archive, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of pinned snippets: %w", err)
	}
	return &archive{dir: dir, found: map[string]intake.Script{}}, nil
}

// keep writes the frozen ones of the files, those that are not there yet.
func (a *archive) keep(files map[string]intake.Script) error {
	if a == nil {
		return nil
	}
	for name, script := range files {
		if !script.Frozen {
			continue
		}
		if err := a.write(filepath.Join(a.dir, name), script.Body); err != nil {
			return fmt.Errorf("keep pinned snippet: %w", err)
		}
	}
	return nil
}

// write makes the file with all of its bytes or not at all.
func (a *archive) write(file string, body []byte) error {
	if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary, err := os.CreateTemp(a.dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(body)
	if err := errors.Join(err, temporary.Chmod(0o644), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}

// find returns what an older version has built under this name. A core whose bytes are not
// those of its name is not found: no page would run it.
func (a *archive) find(name string) (intake.Script, bool) {
	if a == nil || !pinnedName.MatchString(name) {
		return intake.Script{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if script, ok := a.found[name]; ok {
		return script, true
	}
	body, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		return intake.Script{}, false
	}
	s, err := snippet.Packed(body)
	if err != nil || name[1] == '.' && name != "f."+s.Hash+".js" {
		return intake.Script{}, false
	}
	if len(a.found) >= foundMax {
		clear(a.found)
	}
	a.found[name] = served(s, true)
	return a.found[name], true
}
