// Footfall is a web-analytics event pipeline in one binary: a snippet and a pixel
// send events to a collector, which puts them on disk before it answers and passes
// them to Kafka; a sink copies them into PostgreSQL, each exactly once. "footfall up"
// runs all of it on one machine.
//
// This package parses settings and joins the rooms: config.go holds every setting,
// each other file one command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit statuses, which scripts rely on.
const (
	exitOK      = 0
	exitProblem = 1 // a problem was found or an operation failed
	exitUsage   = 2 // wrong usage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once, which is safe: see package spool. Not
	// within the first second: timeout and some supervisors send the same one twice.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it parses, dispatches, and returns the exit
// status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args, stdout, stderr)
	if done, ok := errors.AsType[exited](err); ok {
		return int(done)
	}
	if err != nil {
		fmt.Fprintf(stderr, "footfall: %v\n", err)
		return exitUsage
	}
	cmd.Bind(&program{out: stdout, errs: stderr, log: newLogger(cmd, stderr), settings: fileOf(args)})
	cmd.BindTo(ctx, (*context.Context)(nil))
	if err := cmd.Run(); err != nil {
		if !errors.Is(err, errTold) {
			fmt.Fprintf(stderr, "footfall: %v\n", err)
		}
		return exitProblem
	}
	return exitOK
}

// errTold ends a command that has already said what is wrong.
var errTold = errors.New("told")
