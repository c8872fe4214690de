package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

const superuser = "footfall"

// PostgresOptions says where the server lives and which one it is.
type PostgresOptions struct {
	Dir      string       // our data directory; created (0700) if missing
	Logger   *slog.Logger // nil discards
	Progress io.Writer    // one line a step for people: fetch, initdb, recovery; nil discards
	// Binaries is "" to take the newest PostgreSQL 15 to 18 found and to fetch one otherwise,
	// "embedded" to use the fetched one, or a directory that holds postgres and initdb.
	Binaries string
}

// Postgres is a running private server. Its methods may be called from any goroutine.
type Postgres struct {
	inst    installation
	url     string
	process *process
	unlock  func() error
	done    chan error

	closing  atomic.Bool
	once     sync.Once
	closeErr error
}

// StartPostgres starts the server on the data of the last start, or on new data, and returns when
// it takes connections and has the database footfall. ctx bounds the start only. A first start
// takes about a second, or as long as a download where no PostgreSQL is installed. A server that a
// killed process left behind is stopped first; one that a living process uses is ErrLocked.
//
// The caller owns the server and closes it. After an error nothing of ours runs.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	dir, err := prepareDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	o.Dir = dir
	h, err := openHome(dir, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	// Two data directories may name one home, when a directory was copied.
	unlock, err := Lock(h.dir)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p, err := h.start(ctx, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), unlock())
	}
	p.unlock = unlock
	go p.watch(filepath.Join(o.Dir, "postgres.log"))
	return p, nil
}

func prepareDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

func (h home) start(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	majors, err := h.majors()
	if err != nil {
		return nil, err
	}
	inst, err := h.choose(ctx, majors, o)
	if err != nil {
		return nil, err
	}
	haveData := slices.Contains(majors, inst.major)
	password, err := h.password(haveData)
	if err != nil {
		return nil, err
	}
	if haveData {
		err = stopPrevious(ctx, h.data(inst.major), o.Logger)
	} else {
		err = h.initdb(ctx, inst, o.Progress)
	}
	if err != nil {
		return nil, err
	}
	return h.launchUntilReady(ctx, inst, password, o)
}

func newPostgres(inst installation, proc *process, port int, password string) *Postgres {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, password), Path: database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), RawQuery: "sslmode=disable",
	}
	return &Postgres{inst: inst, url: u.String(), process: proc, done: make(chan error, 1)}
}

// URL is a connection string with password, as the superuser footfall, for pgx and psql alike. It
// is a secret.
func (p *Postgres) URL() string { return p.url }

// Version is the server's, as in "18.3".
func (p *Postgres) Version() string { return p.inst.version() }

// Done gets one error when the server ends without Close, and is closed when it has ended at all.
func (p *Postgres) Done() <-chan error { return p.done }

// Close shuts the server down, within 15 s or until ctx ends, then at once (at most 10 s more).
// Clients are disconnected. Calls after the first wait for it and return its result.
func (p *Postgres) Close(ctx context.Context) error {
	p.once.Do(func() {
		p.closing.Store(true)
		p.closeErr = errors.Join(p.process.stop(ctx), p.unlock())
	})
	return p.closeErr
}

func (p *Postgres) watch(logPath string) {
	<-p.process.ended
	if !p.closing.Load() {
		p.done <- fmt.Errorf("PostgreSQL ended by itself (%v); %s says: %s",
			p.process.err, logPath, logTail(logPath))
	}
	close(p.done)
}
