package main

import (
	"context"
	"fmt"
)

// migrateCmd brings the schema up to date, as the user who owns it: a sink that may not
// do so itself needs it. Others do it at their start.
type migrateCmd struct {
	databaseFlags
	DryRun bool `help:"Print the SQL that would run, and change nothing."`
}

// Validate says what is missing; kong calls it.
func (c *migrateCmd) Validate() error {
	if c.DatabaseURL == "" {
		return errNoDatabase
	}
	return nil
}

// Run prints what it did, or would do.
func (c *migrateCmd) Run(ctx context.Context, p *program) error {
	store, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer store.Close()
	if !c.DryRun {
		applied, err := store.Migrate(ctx)
		if err != nil {
			return err
		}
		for _, m := range applied {
			if _, err := fmt.Fprintf(p.out, "applied %s\n", m.Name); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(p.out, "the schema is up to date")
		return err
	}
	before, pending, err := store.Pending(ctx)
	if err != nil {
		return err
	}
	if len(pending) == 0 {
		_, err = fmt.Fprintln(p.out, "-- the schema is up to date")
		return err
	}
	// What it prints can be piped into psql.
	_, err = fmt.Fprintf(p.out, "begin;\n%s", before)
	for _, m := range pending {
		if err == nil {
			_, err = fmt.Fprintf(p.out, "\n-- %s\n%s\nupdate footfall.schema_version set version = %d;\n",
				m.Name, m.SQL, m.Number)
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(p.out, "commit;")
	}
	return err
}
