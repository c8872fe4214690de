package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sql runs a function with a connection of our own to the seed's database.
func (x *run) sql(ctx context.Context, do func(c *pgx.Conn) error) error {
	c, err := x.m.pg.Connect(ctx, x.database)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	return do(c)
}

func (x *run) exec(ctx context.Context, database, statement string) error {
	c, err := x.m.pg.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	_, err = c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
	return err
}

// copies reports whether the server waits for the rest of a COPY from a sink.
func (x *run) copies(ctx context.Context, s *process) (yes bool, err error) {
	err = x.sql(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, `select exists (select from pg_stat_activity where datname = current_database()
			and application_name = $1 and state = 'active' and wait_event = 'ClientRead' and query like 'copy %')`,
			s.name).Scan(&yes)
	})
	return yes, err
}

func (x *run) postgresKilled(ctx context.Context, r *rand.Rand) error {
	x.m.pg.Kill()
	sleep(ctx, between(r, 0, 2*time.Second))
	return x.m.pg.Start(ctx)
}

func (x *run) postgresRestarted(ctx context.Context, _ *rand.Rand) error { return x.m.pg.Restart(ctx) }

// backendKilled kills the process of one session, as the kernel's OOM killer does.
func (x *run) backendKilled(ctx context.Context, _ *rand.Rand) error {
	var pid int
	err := x.sql(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, `select pid from pg_stat_activity where datname = current_database()
			and pid <> pg_backend_pid() order by state = 'active' desc, random() limit 1`).Scan(&pid)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	x.m.pg.KillBackend(pid)
	return x.answers(ctx)
}

// answers waits until the server has recovered.
func (x *run) answers(ctx context.Context) (err error) {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		if err = x.exec(ctx, x.database, "select 1"); err == nil {
			return nil
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return fmt.Errorf("the server does not answer: %w", errors.Join(err, ctx.Err()))
}

func (x *run) sessionsTerminated(ctx context.Context, r *rand.Rand) error {
	for range 3 + r.IntN(4) {
		if err := x.exec(ctx, x.database, `select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5`); err != nil {
			return err
		}
		sleep(ctx, between(r, 100*time.Millisecond, 1200*time.Millisecond))
	}
	return nil
}

func (x *run) promoted(ctx context.Context, _ *rand.Rand) error { return x.m.pg.Promote(ctx) }

// promotedLate loses what the primary committed last, sometimes after all the load: then
// no new record tells the sinks.
func (x *run) promotedLate(ctx context.Context, r *rand.Rand) error {
	if r.IntN(3) == 0 {
		select {
		case <-x.loaded:
		case <-ctx.Done():
		}
	}
	x.m.pg.Delay()
	sleep(ctx, between(r, 300*time.Millisecond, 3*time.Second))
	return x.m.pg.Promote(ctx)
}

func (x *run) diskFull(ctx context.Context, r *rand.Rand) error {
	empty, err := x.m.disk.Fill(int64(r.IntN(30)) << 20)
	if err != nil {
		return err
	}
	sleep(ctx, between(r, 2*time.Second, 6*time.Second))
	return empty()
}

func (x *run) locked(ctx context.Context, r *rand.Rand) error {
	lock := []string{
		"lock table footfall.events in access exclusive mode",
		"lock table footfall.events in share mode",
		"lock table footfall.sink_offsets in access exclusive mode",
		"lock table footfall.ledger in exclusive mode",
		"select from footfall.sink_offsets where partition % 2 = 0 for update",
	}[r.IntN(5)]
	length := between(r, 500*time.Millisecond, 5*time.Second)
	return x.sql(ctx, func(c *pgx.Conn) error {
		return tolerate(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "set local lock_timeout = '5s'"); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, lock); err != nil {
				return err
			}
			sleep(ctx, length)
			return nil
		}))
	})
}

// tolerate forgives a statement of ours that had to give way.
func tolerate(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "55P03", "40P01", "57014": // lock timeout, deadlock, statement timeout
			return nil
		}
	}
	return err
}

func (x *run) schemaChanged(ctx context.Context, r *rand.Rand) error {
	for i := range 3 + r.IntN(3) {
		change := changes[r.IntN(len(changes))]
		pause := between(r, 50*time.Millisecond, 800*time.Millisecond)
		err := x.sql(ctx, func(c *pgx.Conn) error {
			if _, err := c.Exec(ctx, "set lock_timeout = '5s'"); err != nil {
				return err
			}
			return change(ctx, c, i)
		})
		if err := tolerate(err); err != nil {
			return err
		}
		sleep(ctx, pause)
	}
	return nil
}

// changes are what an operator may do while rows come in.
var changes = []func(ctx context.Context, c *pgx.Conn, i int) error{
	statement("alter table footfall.events add column if not exists torture_%d text"),
	statement("alter table footfall.events add column if not exists torture_d%d integer default 7"),
	statement("create index if not exists torture_index_%d on footfall.events (site)"),
	statement("drop index if exists footfall.torture_index_%d"),
	statement("vacuum full footfall.sink_offsets"),
	statement("vacuum full footfall.ledger"),
	statement("reindex table footfall.sink_offsets"),
	statement("analyze footfall.events"),
	statement("select footfall.fold()"),
	onEmptyDay(func(day, bound string) string {
		return "alter table footfall.events detach partition " + day + "; drop table " + day
	}),
	onEmptyDay(func(day, bound string) string {
		return "alter table footfall.events detach partition " + day +
			"; alter table footfall.events attach partition " + day + " " + bound
	}),
	onEmptyDay(func(day, _ string) string { return "vacuum full " + day }),
	onEmptyDay(func(day, _ string) string { return "drop table " + day }),
}

func statement(text string) func(context.Context, *pgx.Conn, int) error {
	return func(ctx context.Context, c *pgx.Conn, i int) error {
		if strings.Contains(text, "%d") {
			text := fmt.Sprintf(text, i%2)
			_, err := c.Exec(ctx, text, pgx.QueryExecModeSimpleProtocol)
			return err
		}
		_, err := c.Exec(ctx, text, pgx.QueryExecModeSimpleProtocol)
		return err
	}
}

// onEmptyDay works on the last partition, a day to come that no event is of.
func onEmptyDay(text func(day, bound string) string) func(context.Context, *pgx.Conn, int) error {
	return func(ctx context.Context, c *pgx.Conn, _ int) error {
		var day, bound string
		err := c.QueryRow(ctx, `select t.relid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
			from pg_partition_tree('footfall.events') t join pg_class c on c.oid = t.relid
			where t.isleaf and substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''([^'']+)''')::timestamptz
				> now() + interval '3 days' order by c.relname desc limit 1`).Scan(&day, &bound)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, text(day, bound), pgx.QueryExecModeSimpleProtocol)
		return err
	}
}

// prepare makes the seed's database, and what a fault of the plan needs beforehand.
func (x *run) prepare(ctx context.Context) error {
	if err := x.m.pg.Ready(ctx); err != nil {
		return err
	}
	where := ""
	if x.plan.needs() == disk {
		x.space = "space_" + x.database
		dir := filepath.Join(x.m.disk.Dir, x.space)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := x.m.pg.Give(dir); err != nil {
			return err
		}
		if err := x.exec(ctx, "postgres", fmt.Sprintf("create tablespace %s location '%s'", x.space, dir)); err != nil {
			return err
		}
		where = " tablespace " + x.space
	}
	if err := x.exec(ctx, "postgres", "create database "+x.database+" template template0"+where); err != nil {
		return err
	}
	x.made = true
	switch x.plan.needs() {
	case syncStandby:
		return x.m.pg.Follow(ctx, true)
	case asyncStandby:
		return x.m.pg.Follow(ctx, false)
	}
	return nil
}

// drop removes the database and what was made for it.
func (x *run) drop(ctx context.Context) error {
	err := x.m.pg.Ready(ctx)
	if err == nil {
		err = x.m.pg.Alone(ctx)
	}
	if err == nil && x.made {
		err = x.exec(ctx, "postgres", "drop database if exists "+x.database+" with (force)")
	}
	if err == nil && x.space != "" {
		err = errors.Join(x.exec(ctx, "postgres", "drop tablespace if exists "+x.space),
			os.RemoveAll(filepath.Join(x.m.disk.Dir, x.space)))
	}
	return err
}
