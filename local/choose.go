package local

import (
	"context"
	"fmt"
	"path/filepath"
)

// choose finds the binaries for the data that exist, or the newest there are.
func (h home) choose(ctx context.Context, majors []int, o PostgresOptions) (installation, error) {
	if len(majors) == 0 {
		inst, err := h.chooseFor(ctx, 0, o)
		if err != nil {
			err = fmt.Errorf("%w: install PostgreSQL %d to %d, or use one that runs elsewhere with "+
				"--database-url", err, oldestMajor, newestMajor)
		}
		return inst, err
	}
	major := majors[0]
	if major < oldestMajor || major > newestMajor {
		return installation{}, fmt.Errorf("%s was made by PostgreSQL %d, and Footfall runs %d to %d "+
			"(nothing was changed): use a server of that version with --database-url, or start empty "+
			"with another --data", h.data(major), major, oldestMajor, newestMajor)
	}
	inst, err := h.chooseFor(ctx, major, o)
	if err == nil && inst.major != major {
		err = fmt.Errorf("%s is version %s", inst.dir, inst.version())
	}
	if err != nil {
		return inst, fmt.Errorf("%s was made by PostgreSQL %d and opens with no other version "+
			"(nothing was changed): %w: install PostgreSQL %d, or use another database with "+
			"--database-url, or start empty with another --data", h.data(major), major, err, major)
	}
	return inst, nil
}

func (h home) chooseFor(ctx context.Context, major int, o PostgresOptions) (installation, error) {
	if o.Binaries == "embedded" {
		return embeddedInstallation(ctx, h.as, o.Progress)
	}
	if o.Binaries != "" {
		dir, err := filepath.Abs(o.Binaries)
		if err != nil {
			return installation{}, err
		}
		inst, err := inspect(ctx, dir, h.as)
		if err != nil {
			err = fmt.Errorf("use %s: %w", dir, err)
		}
		return inst, err
	}
	inst, err := findInstallations(ctx, h.as).pick(major)
	if err == nil || major != 0 && major != embeddedMajor {
		return inst, err
	}
	inst, fetchErr := embeddedInstallation(ctx, h.as, o.Progress)
	if fetchErr != nil {
		return inst, fmt.Errorf("%w; %w", err, fetchErr)
	}
	return inst, nil
}
