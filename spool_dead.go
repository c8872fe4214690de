package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"footfall/collector/forward"
	"footfall/collector/spool"
	"footfall/event"
)

// spoolDeadCmd is for the records that Kafka called too large even alone, which a
// collector keeps in dead/ of its spool. It may run beside the collector.
type spoolDeadCmd struct {
	Ls     spoolDeadLsCmd     `cmd:"" help:"One line a record."`
	Show   spoolDeadShowCmd   `cmd:"" help:"Print one: byte for byte where it is no text."`
	Replay spoolDeadReplayCmd `cmd:"" help:"Pass them on to Kafka once more, after you raised max.message.bytes of the topic, and remove what it took; status 1 when one stays."`
	Drop   spoolDeadDropCmd   `cmd:"" help:"Remove them for good."`
}

func (c *spoolCmd) dead() ([]spool.DeadRecord, error) {
	dir := spoolDir{}.path(c)
	list, err := spool.ListDead(dir)
	if err == nil && len(list) == 0 {
		if _, err = spool.ReadID(dir); err == nil {
			return nil, nil
		}
	}
	return list, err
}

type spoolDeadLsCmd struct{}

// Run prints a table.
func (*spoolDeadLsCmd) Run(c *spoolCmd, p *program) error {
	list, err := c.dead()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tKEPT\tBYTES\tSPOOL")
	for _, r := range list {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\n", r.Seq, r.At.UTC().Format(time.RFC3339), r.Bytes, r.Spool)
	}
	return w.Flush()
}

// deadNumbers are numbers of records, or all there are.
type deadNumbers struct {
	Numbers []sequence `arg:"" optional:"" help:"Their numbers."`
	All     bool       `help:"All that the spool keeps aside."`
}

// Validate wants one of the two; kong calls it.
func (n *deadNumbers) Validate() error {
	if n.All == (len(n.Numbers) > 0) {
		return errors.New("give either numbers of records or --all")
	}
	return nil
}

// pick finds the records. A number that two spools of one directory gave is both.
func (n *deadNumbers) pick(c *spoolCmd) ([]spool.DeadRecord, error) {
	list, err := c.dead()
	if err != nil || n.All {
		return list, err
	}
	var picked []spool.DeadRecord
	for _, seq := range n.Numbers {
		before := len(picked)
		for _, r := range list {
			if r.Seq == uint64(seq) {
				picked = append(picked, r)
			}
		}
		if len(picked) == before {
			return nil, fmt.Errorf("no record %d in %s; footfall spool dead ls has the numbers", seq,
				filepath.Join(spoolDir{}.path(c), "dead"))
		}
	}
	return picked, nil
}

type spoolDeadShowCmd struct {
	Number sequence `arg:"" help:"Its number."`
}

// Run prints the record.
func (s *spoolDeadShowCmd) Run(c *spoolCmd, p *program) error {
	list, err := (&deadNumbers{Numbers: []sequence{s.Number}}).pick(c)
	if err != nil {
		return err
	}
	for _, r := range list {
		value, err := r.Value()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.out, "kept    %s\nfrom    spool %s, number %d\nrecord  %s\n",
			r.At.UTC().Format(time.RFC3339), r.Spool, r.Seq, shown(value)); err != nil {
			return err
		}
	}
	return nil
}

type spoolDeadReplayCmd struct {
	deadNumbers
	kafkaFlags
}

// Validate says what is missing; kong calls it.
func (r *spoolDeadReplayCmd) Validate() error {
	_, err := r.cluster()
	if len(r.Brokers) == 0 {
		err = errors.Join(errors.New("no brokers: give --brokers host:port"), err)
	}
	return errors.Join(r.deadNumbers.Validate(), err)
}

// Run replays one after the other, and removes a record once all in-sync replicas have
// it.
func (r *spoolDeadReplayCmd) Run(ctx context.Context, c *spoolCmd, p *program) error {
	list, err := r.pick(c)
	if err != nil {
		return err
	}
	done := 0
	for _, record := range list {
		err := r.send(ctx, p, record)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = record.Drop()
		}
		if err != nil {
			fmt.Fprintf(p.out, "%d: %s\n", record.Seq, printable(err.Error()))
			continue
		}
		done++
	}
	fmt.Fprintf(p.out, "%d records were passed on to %s, %d stay\n", done, r.Topic, len(list)-done)
	if done < len(list) {
		return errTold
	}
	return nil
}

// send passes a record on under its key and number, and waits for the answer.
func (r *spoolDeadReplayCmd) send(ctx context.Context, p *program, record spool.DeadRecord) error {
	value, err := record.Value()
	if err != nil {
		return err
	}
	e, refused := (&event.Decoder{}).Record(value)
	if refused != nil {
		return fmt.Errorf("record is damaged: %s", refused.Detail)
	}
	cluster, err := r.cluster()
	if err != nil {
		return err
	}
	sender, err := forward.NewReplay(cluster, r.Topic, p.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = sender.Send(ctx, record.Spool, forward.Record{Seq: record.Seq, Key: []byte(e.Key()), Value: value})
	return errors.Join(err, sender.Close(ctx))
}

type spoolDeadDropCmd struct{ deadNumbers }

// Run removes one after the other.
func (d *spoolDeadDropCmd) Run(c *spoolCmd, p *program) error {
	list, err := d.pick(c)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := r.Drop(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.out, "%d records were dropped\n", len(list))
	return err
}
