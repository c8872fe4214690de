// Package local holds the two servers that `footfall up` brings with it, so that nothing has to be
// installed first: a Kafka broker inside this process and a private PostgreSQL beside it.
//
// The broker lives in memory. It is a way to run the same code as on a cluster, not a place to keep
// anything: each start has a new cluster id and an empty topic, and the spool is replayed into it.
// Without BrokerOptions.Listen it has no port at all.
//
// PostgreSQL is a process of its own with its data under PostgresOptions.Dir. It is found on this
// machine or fetched once. It may be killed, and so may we: the next start stops what is left of
// the last one and goes on with the same data. A data directory is never removed, emptied or
// opened by another major version than the one that made it; where something does not fit, start
// returns an error that names the directory and the ways out, and leaves everything as it was.
//
// Started by root, PostgreSQL runs as the user postgres, or nobody, because it refuses root.
//
// This room uses pgx for one thing only: to learn that the server answers and to create the
// database. It runs on Linux and macOS.
package local
