package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migration is one step of the schema. Steps only ever add: a program that knows fewer
// of them than the database has goes on with what it knows.
type Migration struct {
	Number int
	Name   string // of its file
	SQL    string
}

// schemaLock is held while the schema changes, so that sinks that start together
// do it one after the other.
const schemaLock = 0x666f6f7466616c6c // "footfall"

// firstSchema comes before the first migration. It asks first: a role that may use the
// schema need not be allowed to create one.
const firstSchema = `do $$ begin
    if to_regnamespace('footfall') is null then create schema footfall; end if;
end $$;
create table if not exists footfall.schema_version (version integer not null);
insert into footfall.schema_version select 0
    where not exists (select from footfall.schema_version);
`

var allMigrations = func() []Migration {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant and well formed
	}
	list := make([]Migration, len(names)) // sorted
	for i, name := range names {
		sql, err := migrations.ReadFile(name)
		if err != nil {
			panic(err) // it is inside the program
		}
		list[i] = Migration{i + 1, strings.TrimPrefix(name, "migrations/"), string(sql)}
	}
	return list
}()

// migrationsWanted is the number of migrations this program knows.
func migrationsWanted() int { return len(allMigrations) }

// Pending returns the migrations that the database lacks, and the SQL that goes before
// them when it has none yet.
func (s *Store) Pending(ctx context.Context) (before string, list []Migration, err error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	version, err := schemaVersion(ctx, s.pool)
	if err != nil {
		return "", nil, fmt.Errorf("read schema version: %w", needs(err, "one of the roles, or of "+roleOwner))
	}
	if version < 0 {
		return firstSchema, allMigrations, nil
	}
	return "", allMigrations[min(version, len(allMigrations)):], nil
}

// Migrate applies the migrations that are missing, all of them or none, in one
// transaction under a lock. It returns those it applied. A database whose schema is
// newer is left as it is.
func (s *Store) Migrate(ctx context.Context) (applied []Migration, err error) {
	// A role that may store events need not be allowed to change the schema.
	_, pending, err := s.Pending(ctx)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		applied, err = migrate(ctx, tx)
		return err
	})
	if noRight(err) {
		return nil, fmt.Errorf("the schema lacks migration %d, and this user may not change it: "+
			"run footfall migrate as its owner: %w", pending[0].Number, err)
	}
	if err != nil {
		return nil, fmt.Errorf("migrate schema: %w", err)
	}
	return applied, nil
}

func migrate(ctx context.Context, tx pgx.Tx) (applied []Migration, err error) {
	// The transaction's, so that it holds behind a pooler too.
	const lock = "select pg_advisory_xact_lock($1)"
	if _, err := tx.Exec(ctx, lock, int64(schemaLock)); err != nil {
		return nil, err
	}
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return nil, err
	}
	if version < 0 {
		if _, err := tx.Exec(ctx, firstSchema, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, err
		}
	}
	for _, m := range allMigrations[min(max(version, 0), len(allMigrations)):] {
		if _, err := tx.Exec(ctx, m.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		const set = "update footfall.schema_version set version = $1"
		if _, err := tx.Exec(ctx, set, m.Number); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		applied = append(applied, m)
	}
	return applied, nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// schemaVersion returns how many migrations the database has, -1 when it has no table
// that would tell.
func schemaVersion(ctx context.Context, q querier) (version int, err error) {
	var there bool
	// Not to_regclass: it may remember that there was none before another made it.
	const ask = `select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'footfall' and c.relname = 'schema_version')`
	if err := q.QueryRow(ctx, ask).Scan(&there); err != nil {
		return 0, err
	}
	if !there {
		return -1, nil
	}
	err = q.QueryRow(ctx, "select version from footfall.schema_version").Scan(&version)
	return version, err
}
