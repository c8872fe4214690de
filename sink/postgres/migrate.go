package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

const versionTable = "footfall.schema_version"

// schemaLock is held while the schema changes, so that sinks that start together
// do it one after the other.
const schemaLock = 0x666f6f7466616c6c // "footfall"

// migrate applies the migrations that are missing, each in a transaction.
func (s *Store) migrate(ctx context.Context) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	defer c.Release()
	if err := migrateWith(ctx, c.Conn()); err != nil {
		// The lock is the session's: only its end surely gives it back.
		c.Conn().Close(context.WithoutCancel(ctx))
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

func migrateWith(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "select pg_advisory_lock($1)", int64(schemaLock)); err != nil {
		return err
	}
	if err := createSchema(ctx, c); err != nil {
		return err
	}
	m, err := migrate.NewMigrator(ctx, c, versionTable)
	if err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(files); err != nil {
		return err
	}
	if err := m.Migrate(ctx); err != nil {
		return err
	}
	_, err = c.Exec(ctx, "select pg_advisory_unlock($1)", int64(schemaLock))
	return err
}

// createSchema asks first: a role that may use the schema need not be allowed to
// create one.
func createSchema(ctx context.Context, c *pgx.Conn) error {
	var there bool
	const ask = "select exists (select from pg_namespace where nspname = 'footfall')"
	if err := c.QueryRow(ctx, ask).Scan(&there); err != nil || there {
		return err
	}
	_, err := c.Exec(ctx, "create schema footfall")
	return err
}

// migrationsWanted is the number of migrations this program knows.
func migrationsWanted() int {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0 // the pattern is constant and well formed
	}
	return len(files)
}
