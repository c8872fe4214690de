package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

func connect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read database url: %w", err)
	}
	config.MaxConns = connectionsMax
	// After a failover an address can lead to the old, now read-only server.
	if config.ConnConfig.ValidateConnect == nil {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// No named statements: behind a pooler that lends sessions by the transaction they belong
	// to a session that is somebody else's by now. What is parsed anew is a few statements a
	// batch.
	// And none without the types that the server asks for: those modes are known from advice
	// about poolers, and cannot say what a [16]byte is.
	switch config.ConnConfig.DefaultQueryExecMode {
	case pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	// Of one address, and a host may have several: all of them have to fit into limits.ask.
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 4 * time.Second
	}
	// A connection that idles is asked whether it lives. Without this one that leads into a
	// silent network uses up all the time of whoever wants it.
	if config.PingTimeout == 0 {
		config.PingTimeout = 4 * time.Second
	}
	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "footfall"
	}
	// What we send is UTF-8, whatever the URL, the role or the database have as their own.
	params["client_encoding"] = "UTF8"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, defaultLimits.task)
	defer cancel()
	if err := checkEncoding(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// checkEncoding refuses a database that has no characters for most of the world's text:
// every title in Russian would be a dead letter. SQL_ASCII takes UTF-8 as it comes; see
// Report.Problems.
func checkEncoding(ctx context.Context, pool *pgxpool.Pool) error {
	var encoding string
	err := pool.QueryRow(ctx, "select current_setting('server_encoding')").Scan(&encoding)
	switch {
	case err != nil:
		return unreachable(err)
	case encoding != "UTF8" && encoding != sqlASCII:
		return fmt.Errorf("the database's encoding is %s, which cannot hold every text: "+
			"make another with createdb NAME -E UTF8 -T template0", encoding)
	}
	return nil
}

// sqlASCII is the encoding that means none.
const sqlASCII = "SQL_ASCII"

// connectMax is how long it takes to find that no host answers: each in its turn, where
// TLS is only preferred once more without.
func connectMax(c *pgx.ConnConfig) time.Duration {
	return c.ConnectTimeout * time.Duration(1+len(c.Fallbacks))
}

// unreachable wraps an error of connecting, with what to do where that is known.
func unreachable(err error) error {
	if todo := advice(err); todo != "" {
		return fmt.Errorf("reach database: %w (%s)", err, todo)
	}
	return fmt.Errorf("reach database: %w", err)
}

// The roles that hold what a user needs who does not own the schema, see the migrations, and
// who has what none of them has.
const (
	roleIngest = "footfall_ingest"
	roleReader = "footfall_reader"
	roleEraser = "footfall_eraser"
	roleOwner  = "the schema's owner"
)

// needs adds to an error that says that a right is missing who has it.
func needs(err error, roles ...string) error {
	if !noRight(err) {
		return err
	}
	return fmt.Errorf("%w (this needs the rights of %s: give such a user in the database URL)", err,
		strings.Join(roles, " and "))
}

func noRight(err error) bool {
	return hasState(err, "42501")
}

func advice(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "give the certificates of who signed the server's as sslrootcert=FILE in the database URL"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the host in the database URL has to be a name of the server's certificate"
	}
	if errors.Is(err, pgconn.ErrReadOnlyConnection) {
		return "a standby? put the primary into the database URL, or all of them: host1,host2"
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if ok && pg.Code == "28000" && strings.Contains(pg.Message, "no encryption") {
		return "does the server want TLS? then sslmode=verify-full in the database URL"
	}
	return ""
}
