package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const database = "footfall"

// readyLimit covers a crash recovery over max_wal_size of log on a slow disk.
const readyLimit = 10 * time.Minute

// errEnded means that the server ended before it was ready.
var errEnded = errors.New("postgres ended while starting")

// launchUntilReady tries three times: another program may take the port between the look and the
// bind, and the last backends of a killed server may hold its shared memory for a moment.
func (h home) launchUntilReady(ctx context.Context, inst installation, password string,
	o PostgresOptions) (*Postgres, error) {
	logPath := filepath.Join(o.Dir, "postgres.log")
	var problem error
	for attempt := range 3 {
		if attempt > 0 {
			select {
			case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
			case <-ctx.Done():
				return nil, errors.Join(problem, ctx.Err())
			}
		}
		port, err := h.port()
		if err != nil {
			return nil, err
		}
		proc, err := h.launch(inst, port, logPath)
		if err != nil {
			return nil, err
		}
		p := newPostgres(inst, proc, port, password)
		if err = p.awaitReady(ctx, o.Progress); err == nil {
			o.Logger.Info("PostgreSQL is ready", "version", inst.version(), "binaries", inst.dir,
				"data", h.data(inst.major), "port", port, "pid", proc.pid)
			return p, nil
		}
		problem = err
		if !errors.Is(err, errEnded) {
			// Its own bound: ctx may be what ended the start.
			return nil, errors.Join(err, proc.stop(context.WithoutCancel(ctx)))
		}
	}
	return nil, fmt.Errorf("%w; %s says: %s", problem, logPath, logTail(logPath))
}

// awaitReady waits until a real session works, and creates our database in it.
func (p *Postgres) awaitReady(ctx context.Context, say io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	began, told := time.Now(), time.Now()
	for {
		err := p.createDatabase(ctx)
		if err == nil {
			return nil
		}
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && !notYet(pgErr) {
			return p.explain(err)
		}
		select {
		case <-p.process.ended:
			return fmt.Errorf("%w: %v", errEnded, p.process.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			fmt.Fprintf(say, "waiting for PostgreSQL: %.0f s\n", time.Since(began).Seconds())
		}
	}
}

// explain gives a server that lost its port the time to say so: then it was a stranger on that port
// who refused us, and another port helps.
func (p *Postgres) explain(err error) error {
	select {
	case <-p.process.ended:
		return fmt.Errorf("%w: %v", errEnded, p.process.err)
	case <-time.After(500 * time.Millisecond):
		return err
	}
}

// notYet is true for what a server answers while it starts, recovers or shuts down.
func notYet(err *pgconn.PgError) bool {
	return err.Code == "57P03" || err.Code == "57P01" || err.Code == "57P02"
}

func (p *Postgres) createDatabase(ctx context.Context) error {
	config, err := pgx.ParseConfig(p.url)
	if err != nil {
		return err
	}
	config.Database = "postgres"
	config.ConnectTimeout = 5 * time.Second
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	err = conn.QueryRow(ctx,
		"select exists (select from pg_database where datname = $1)", database).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{database}.Sanitize())
	return err
}

func logTail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, min(info.Size(), 4096))
	if _, err := f.ReadAt(b, info.Size()-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	return lastLines(string(b), 4)
}
