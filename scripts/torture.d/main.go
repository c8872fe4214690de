// Torture breaks a part of Footfall in seeded ways and holds it to its word: real
// processes, a real Kafka and a real PostgreSQL, on loopback. scripts/torture builds it
// and starts what it needs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"footfall/scripts/torture.d/collector"
	"footfall/scripts/torture.d/sink"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	victims := map[string]func(context.Context, []string) error{
		"collector": collector.Torture, "sink": sink.Torture}
	if len(os.Args) < 2 || victims[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "torture: say collector or sink")
		os.Exit(2)
	}
	if err := victims[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}
