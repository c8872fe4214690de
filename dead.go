package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"footfall/sink/postgres"
)

// deadCmd is for the records that the sink could not store and keeps in
// footfall.dead_letters.
type deadCmd struct {
	dataFlags
	databaseFlags

	Ls     deadLsCmd     `cmd:"" help:"One line a dead letter."`
	Show   deadShowCmd   `cmd:"" help:"Print one: why, and the record, byte for byte where it is no text."`
	Replay deadReplayCmd `cmd:"" help:"Try to store them once more, after what stood in the way is gone; status 1 when one stays."`
	Drop   deadDropCmd   `cmd:"" help:"Give them up: the records are forgotten, the ledger goes on counting them."`
}

// letter is the number of a dead letter.
type letter int64

func readLetter(s string) (letter, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not the number of a dead letter; footfall dead ls has them", s)
	}
	return letter(n), nil
}

// open connects to the database that is named, or to that of the running up.
func (c *deadCmd) open(ctx context.Context, p *program) (*postgres.Store, error) {
	if c.DatabaseURL == "" {
		up, _, err := c.running()
		if err != nil {
			return nil, err
		}
		c.DatabaseURL = databaseURL(up.DatabaseURL)
	}
	return c.databaseFlags.open(ctx, p)
}

type deadLsCmd struct {
	Since   timeAgo `help:"Only those kept since then: a duration like 3h, or a time like 2026-01-31T12:00:00Z." placeholder:"WHEN"`
	Settled bool    `help:"Those that were replayed or dropped, too."`
}

// Run prints a table.
func (l *deadLsCmd) Run(ctx context.Context, c *deadCmd, p *program) error {
	store, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer store.Close()
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tKEPT\tTOPIC\tOFFSET\tBYTES\tSTATE\tREASON")
	err = store.EachDeadLetter(ctx, postgres.DeadFilter{Since: time.Time(l.Since), Settled: l.Settled},
		func(d postgres.DeadLetter) error {
			_, err := fmt.Fprintf(w, "%d\t%s\t%s/%d\t%d\t%d\t%s\t%s\n", d.ID, d.At.Format(time.RFC3339), d.Topic,
				d.Partition, d.Offset, d.Bytes, state(d), why(d))
			return err
		})
	return errors.Join(err, w.Flush())
}

func state(d postgres.DeadLetter) string {
	if d.Outcome == "" {
		return "waits"
	}
	return string(d.Outcome)
}

func why(d postgres.DeadLetter) string {
	s := string(d.Reason)
	if d.SQLState != "" {
		s += " " + d.SQLState
	}
	return s + ": " + strconv.Quote(d.Detail) // it may quote the record
}

type deadShowCmd struct {
	Number letter `arg:"" help:"Its number."`
}

// Run prints one dead letter.
func (s *deadShowCmd) Run(ctx context.Context, c *deadCmd, p *program) error {
	store, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer store.Close()
	d, err := store.DeadLetter(ctx, int64(s.Number))
	if err != nil {
		return err
	}
	settled := state(d)
	if !d.Settled.IsZero() {
		settled += " since " + d.Settled.Format(time.RFC3339)
	}
	_, err = fmt.Fprintf(p.out, "kept    %s\nstate   %s\nreason  %s\nfrom    cluster %s, topic %s, partition %d, offset %d\nkey     %s\nrecord  %s\n",
		d.At.Format(time.RFC3339), settled, why(d), d.Cluster, d.Topic, d.Partition, d.Offset,
		strconv.Quote(string(d.Key)), shown(d.Value))
	return err
}

// shown indents JSON and quotes anything else, so that no record can speak to a terminal.
func shown(value []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, value, "        ", "  ") == nil {
		return b.String()
	}
	return strconv.Quote(string(value))
}

// letters are numbers, or all that wait.
type letters struct {
	Numbers []letter `arg:"" optional:"" help:"Their numbers."`
	All     bool     `help:"All that wait."`
}

// Validate wants one of the two; kong calls it.
func (l *letters) Validate() error {
	if l.All == (len(l.Numbers) > 0) {
		return errors.New("give either numbers of dead letters or --all")
	}
	return nil
}

// The ends of a letter that are no postgres.DeadOutcome.
const (
	notSettled = "not settled"
	notKnown   = "not known whether settled"
)

// each calls fn with every letter and prints what it says. It goes on after an error,
// and returns errTold then.
func (l *letters) each(ctx context.Context, c *deadCmd, p *program,
	fn func(store *postgres.Store, id int64) (said string, err error)) error {
	store, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer store.Close()
	if l.All {
		err := store.EachDeadLetter(ctx, postgres.DeadFilter{}, func(d postgres.DeadLetter) error {
			l.Numbers = append(l.Numbers, letter(d.ID))
			return nil
		})
		if err != nil {
			return err
		}
	}
	counts := map[string]int{}
	for _, n := range l.Numbers {
		said, err := fn(store, int64(n))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			said = notSettled
			if errors.Is(err, postgres.ErrNotKnown) {
				said = notKnown
			}
			fmt.Fprintf(p.out, "%d: %s\n", n, printable(err.Error()))
		}
		counts[said]++
	}
	return tell(p.out, counts)
}

// tell says how many letters came to which end, and returns errTold when it was a bad one.
func tell(out io.Writer, counts map[string]int) (told error) {
	if len(counts) == 0 {
		fmt.Fprintln(out, "no dead letter waits")
	}
	for _, said := range []string{string(postgres.DeadInserted), string(postgres.DeadDuplicate),
		string(postgres.DeadDropped), notSettled, notKnown} {
		if n := counts[said]; n > 0 {
			fmt.Fprintf(out, "%d %s\n", n, said)
			if said == notSettled || said == notKnown {
				told = errTold
			}
		}
	}
	return told
}

// printable leaves out what could speak to a terminal: an error may quote a record.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

type deadReplayCmd struct{ letters }

// Run replays one after the other, each in a transaction of its own.
func (r *deadReplayCmd) Run(ctx context.Context, c *deadCmd, p *program) error {
	return r.each(ctx, c, p, func(store *postgres.Store, id int64) (string, error) {
		outcome, err := store.ReplayDead(ctx, id)
		return string(outcome), err
	})
}

type deadDropCmd struct{ letters }

// Run drops one after the other.
func (d *deadDropCmd) Run(ctx context.Context, c *deadCmd, p *program) error {
	return d.each(ctx, c, p, func(store *postgres.Store, id int64) (string, error) {
		return string(postgres.DeadDropped), store.DropDead(ctx, id)
	})
}
