package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"footfall/collector/spool"
	"footfall/event"
)

// spoolCmd reads a spool, also beside the collector that has it open. It takes no lock,
// and changes nothing but what lies in dead/.
type spoolCmd struct {
	dataFlags
	Spool string   `help:"Directory of the spool; that of footfall up, spool below --data, when left out." placeholder:"DIR"`
	From  sequence `help:"First record looked at, by number." placeholder:"N"`
	To    sequence `help:"Last record looked at, by number." placeholder:"N"`
	Keys  bool     `help:"With dump: number and Kafka key too."`

	Ls     spoolLsCmd     `cmd:"" help:"One line a segment."`
	Verify spoolVerifyCmd `cmd:"" help:"Check every byte, and name the records that are missing; status 1 when some are."`
	Replay spoolReplayCmd `cmd:"" help:"Pass the records on to Kafka once more; those that are rows stay one row."`
	Dump   spoolDumpCmd   `cmd:"" help:"Print the records, one JSON object a line."`
	Dead   spoolDeadCmd   `cmd:"" help:"The records that Kafka called too large even alone."`
}

// sequence is the number of a record, from 1; 0 when it was left out.
type sequence uint64

func readSequence(s string) (sequence, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%q is not the number of a record", s)
	}
	return sequence(v), nil
}

type spoolDir struct {
	Dir string `arg:"" optional:"" help:"Directory of the spool; beats --spool."`
}

func (d spoolDir) path(c *spoolCmd) string {
	switch {
	case d.Dir != "":
		return d.Dir
	case c.Spool != "":
		return c.Spool
	}
	return filepath.Join(c.Data, "spool")
}

func (c *spoolCmd) limits() (from, to uint64) {
	if c.To == 0 {
		return uint64(c.From), math.MaxUint64
	}
	return uint64(c.From), uint64(c.To)
}

func (d spoolDir) inspect(c *spoolCmd) ([]spool.SegmentInfo, error) {
	dir := d.path(c)
	infos, err := spool.Inspect(dir)
	if err == nil && len(infos) == 0 {
		err = fmt.Errorf("no spool in %s", dir)
	}
	return infos, err
}

type spoolLsCmd struct{ spoolDir }

// Run prints one line a segment.
func (l *spoolLsCmd) Run(c *spoolCmd, p *program) error {
	infos, err := l.inspect(c)
	if err != nil {
		return err
	}
	from, to := c.limits()
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tFIRST\tLAST\tRECORDS\tBYTES\tSTATE")
	for _, s := range infos {
		if s.Records > 0 && (s.Last < from || s.First > to) {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n",
			s.File, s.First, s.Last, s.Records, s.Bytes, s.State)
	}
	return w.Flush()
}

type spoolVerifyCmd struct{ spoolDir }

// Run prints what is damaged. It returns errTold when something is.
func (v *spoolVerifyCmd) Run(c *spoolCmd, p *program) error {
	infos, err := v.inspect(c)
	if err != nil {
		return err
	}
	from, to := c.limits()
	var records int
	var missing, unseen uint64
	damaged := false
	for _, s := range infos {
		if s.NoHeader {
			damaged = true
			fmt.Fprintf(p.out, "%s: header is damaged: the next start makes it again; %s behind it\n",
				s.File, numbers(s.First, s.Last, s.Records > 0))
		}
		if s.Problem == "" {
			records += s.Records
		} else if s.Records == 0 || s.Last >= from && s.First <= to {
			unseen += uint64(s.Records)
			fmt.Fprintf(p.out, "%s: %s: %s in it, which no reader gets\n",
				s.File, s.Problem, numbers(s.First, s.Last, s.Records > 0))
		}
		for _, d := range s.Missing {
			if d.To < from || d.From > to {
				continue
			}
			fmt.Fprintf(p.out, "%s: %d bytes at %d: %s missing\n",
				s.File, d.Bytes, d.Offset, numbers(d.From, d.To, d.To >= d.From))
			first, last := max(d.From, from), min(d.To, to)
			missing += max(last+1, first) - first
		}
	}
	fmt.Fprintf(p.out, "%d files, %d records, %d missing, %d in files that no reader sees\n",
		len(infos), records, missing, unseen)
	if damaged || missing+unseen > 0 {
		return errTold
	}
	return nil
}

func numbers(first, last uint64, some bool) string {
	switch {
	case !some:
		return "no record"
	case first == last:
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}

type spoolDumpCmd struct{ spoolDir }

// Run prints the records until ctx ends.
func (d *spoolDumpCmd) Run(ctx context.Context, c *spoolCmd, p *program) error {
	from, to := c.limits()
	w := bufio.NewWriter(p.out)
	err := spool.Scan(d.path(c), func(r spool.Record) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.Seq > to:
			return errEnough
		case r.Seq < from:
			return nil
		}
		line, err := dumped(r, c.Keys)
		if err != nil {
			return err
		}
		w.Write(line)
		return w.WriteByte('\n')
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, w.Flush())
}

// dumped is a record as dump prints it. One that is no JSON becomes a JSON string.
func dumped(r spool.Record, keys bool) ([]byte, error) {
	key, value := event.SplitRecord(r.Payload)
	if !json.Valid(value) || bytes.ContainsRune(value, '\n') {
		b, err := json.Marshal(string(value))
		if err != nil {
			return nil, fmt.Errorf("print record %d: %w", r.Seq, err)
		}
		value = b
	}
	if !keys {
		return value, nil
	}
	line, err := json.Marshal(struct {
		Seq   uint64          `json:"seq"`
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}{r.Seq, string(key), value})
	if err != nil {
		return nil, fmt.Errorf("print record %d: %w", r.Seq, err)
	}
	return line, nil
}
