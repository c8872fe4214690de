package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
)

// program is what every command is handed: where to write, and the logger.
type program struct {
	out, errs io.Writer
	log       *slog.Logger
	settings  string // file of settings that was asked for; "": footfall.yaml when it is there
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(_ context.Context, p *program) error {
	_, err := fmt.Fprintln(p.out, "footfall", version())
	return err
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := "unknown revision"
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version + " " + revision + " " + info.GoVersion
}

// running reads the up.json of a directory; ok is false when no up runs there.
func (d *dataFlags) running() (file upFile, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(d.Data, "up.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return file, false, nil
	}
	if err != nil {
		return file, false, fmt.Errorf("find the running footfall up: %w", err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return file, false, fmt.Errorf("read %s/up.json: %w", d.Data, err)
	}
	return file, true, nil
}
