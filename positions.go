package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"footfall/sink/consume"
	"footfall/sink/postgres"
)

// positionsCmd shows how far each partition of the topic is stored in PostgreSQL, and
// lets a person move one that waits for it.
type positionsCmd struct {
	kafkaFlags
	databaseFlags

	Ls     positionsLsCmd     `cmd:"" help:"One line a partition; status 1 when one is stopped or stands still."`
	Resume positionsResumeCmd `cmd:"" help:"Let a stopped partition go on behind what is gone; that is written down as lost."`
}

// Validate says what is missing; kong calls it.
func (c *positionsCmd) Validate() error {
	err := c.checkKafka()
	if c.DatabaseURL == "" {
		err = errors.Join(err, errNoDatabase)
	}
	return err
}

// positions is the topic as Kafka has it, with what is stored of it.
type positions struct {
	store  *postgres.Store
	kafka  consume.Options
	topic  *consume.Report
	next   map[int32]postgres.Position
	stands map[int32]standstill // see standing
}

// look opens the database; close the store.
func (c *positionsCmd) look(ctx context.Context, p *program) (*positions, error) {
	cluster, err := c.cluster()
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found := &positions{}
	found.kafka = consume.Options{Kafka: cluster, Topic: c.Topic, Logger: p.log}
	if found.topic, err = consume.Check(asking, found.kafka); err != nil {
		return nil, err
	}
	if found.store, err = c.open(ctx, p); err != nil {
		return nil, err
	}
	if found.next, err = positionsOf(ctx, found.store, found.topic); err != nil {
		found.store.Close()
		return nil, err
	}
	return found, nil
}

// positionsOf picks those of the topic that is there now, by partition.
func positionsOf(ctx context.Context, store *postgres.Store, topic *consume.Report) (map[int32]postgres.Position, error) {
	all, err := store.AllPositions(ctx)
	if err != nil {
		return nil, err
	}
	next := map[int32]postgres.Position{}
	for _, p := range all {
		if p.Cluster == topic.ClusterID && p.TopicID == topic.TopicID {
			next[p.Partition] = p
		}
	}
	return next, nil
}

// stopped says why a partition cannot go on from a position, "" when it can.
func stopped(t consume.Partition, next int64) string {
	switch {
	case next < t.Start:
		return fmt.Sprintf("partition %d: %d offsets are lost, from %d to %d: footfall positions resume --partition %d goes on behind them",
			t.Partition, t.Start-next, next, t.Start-1, t.Partition)
	case next > t.End:
		return fmt.Sprintf("partition %d: the position is %d and the log ends at %d, so it is not the log that was stored: "+
			"footfall positions resume --partition %d reads it from its start", t.Partition, next, t.End, t.Partition)
	}
	return ""
}

// standsAfter is how long a position may stay where it is while records wait behind it.
// A sink tells why it stopped only as long as it runs; that one stands still anybody sees.
const standsAfter = time.Minute

// standstill is a position that stands still, or may.
type standstill struct{ state, why string }

// standing finds the positions that have records behind them that came standsAfter ago, and
// have not moved since: no sink runs, or it waits, perhaps for a person. Those that are
// stopped are left out. What the database does not tell is no reason to say nothing of the
// others.
func (f *positions) standing(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	old, err := consume.OffsetsAt(asking, f.kafka, time.Now().Add(-standsAfter))
	if err != nil {
		return err
	}
	f.stands = map[int32]standstill{}
	for _, t := range f.topic.Partitions {
		at, read := f.next[t.Partition]
		if until, answers := old[t.Partition]; read && answers && at.Next < until && stopped(t, at.Next) == "" {
			f.stands[t.Partition] = standstill{}
		}
	}
	if len(f.stands) == 0 {
		return nil
	}
	stood, err := f.store.Stood(ctx, f.topic.ClusterID, f.topic.TopicID)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for p := range f.stands {
		since, moved := stood[p]
		switch {
		case err != nil:
			f.stands[p] = standstill{"not known", fmt.Sprintf("partition %d: older records wait at the position %d, "+
				"and since when it has not moved is not known: %v", p, f.next[p].Next, err)}
		case moved && since < standsAfter:
			delete(f.stands, p)
		default:
			f.stands[p] = standstill{"stands still", stoodWhy(f.next[p], since, moved)}
		}
	}
	return nil
}

func stoodWhy(at postgres.Position, since time.Duration, moved bool) string {
	long := "not moved for long"
	switch {
	case moved:
		long = "not moved for " + since.Round(time.Second).String()
	case at.Next == at.First:
		long = "never moved"
	}
	return fmt.Sprintf("partition %d: the position %d has %s, and older records wait there: the log and /health/ready "+
		"of the sink say why, if one runs; a batch that cannot be read is skipped by "+
		"footfall positions resume --partition %[1]d --at the offset behind it", at.Partition, at.Next, long)
}

// waiting says why a partition does not go on, "" when it does or was never read.
func (f *positions) waiting(t consume.Partition) string {
	next, read := f.next[t.Partition]
	if !read {
		return ""
	}
	return cmp.Or(stopped(t, next.Next), f.stands[t.Partition].why)
}

type positionsLsCmd struct{}

// Run prints one line a partition.
func (*positionsLsCmd) Run(ctx context.Context, c *positionsCmd, p *program) error {
	found, err := c.look(ctx, p)
	if err != nil {
		return err
	}
	defer found.store.Close()
	if err := found.standing(ctx); err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PARTITION\tPOSITION\tLOG START\tLOG END\tBEHIND\tSTATE")
	var told error
	for _, t := range found.topic.Partitions {
		next, read := found.next[t.Partition]
		position, behind, state := "-", t.End-t.Start, "never read"
		if read {
			position, behind, state = strconv.FormatInt(next.Next, 10), t.End-next.Next, "ok"
			switch {
			case stopped(t, next.Next) != "":
				behind, state, told = t.End-max(next.Next, t.Start), "stopped", errTold
			case found.stands[t.Partition].state != "":
				state, told = found.stands[t.Partition].state, errTold
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%s\n", t.Partition, position, t.Start, t.End, max(behind, 0), state)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range found.topic.Partitions {
		if why := found.waiting(t); why != "" {
			fmt.Fprintln(p.out, why)
		}
	}
	return told
}

type positionsResumeCmd struct {
	Partition partition `required:"" help:"Partition to let go on." placeholder:"N"`
	At        offset    `help:"Offset to go on at; where the log starts when left out." placeholder:"OFFSET"`
}

type (
	partition int32
	offset    int64 // 0 when it was left out
)

func readPartition(s string) (partition, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not the number of a partition", s)
	}
	return partition(n), nil
}

func readOffset(s string) (offset, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not an offset from 1", s)
	}
	return offset(n), nil
}

// Run moves one position, which a running sink notices within seconds.
func (r *positionsResumeCmd) Run(ctx context.Context, c *positionsCmd, p *program) error {
	found, err := c.look(ctx, p)
	if err != nil {
		return err
	}
	defer found.store.Close()
	said, err := r.resume(ctx, found)
	if errors.Is(err, consume.ErrMoved) {
		err = fmt.Errorf("%w: a sink is storing it; look again with footfall positions ls", err)
	}
	if err != nil {
		return fmt.Errorf("resume partition %d: %w", r.Partition, err)
	}
	_, err = fmt.Fprintf(p.out, "partition %d: %s\n", r.Partition, said)
	return err
}

func (r *positionsResumeCmd) resume(ctx context.Context, found *positions) (said string, err error) {
	next, read := found.next[int32(r.Partition)]
	if !read {
		return "", errors.New("the database has no position of it: the sink begins where its log starts")
	}
	var t consume.Partition
	for _, t = range found.topic.Partitions {
		if t.Partition == next.Partition {
			break
		}
	}
	at := max(int64(r.At), t.Start)
	switch {
	case r.At != 0 && (int64(r.At) < t.Start || int64(r.At) > t.End):
		return "", fmt.Errorf("offset %d is not in the log, which goes from %d to %d", r.At, t.Start, t.End)
	case next.Next > t.End:
		return fmt.Sprintf("is read from %d; events that are rows already stay one row", at),
			found.store.Restart(ctx, next, at)
	case r.At == 0 && next.Next >= t.Start:
		return "", fmt.Errorf("it is not stopped by a loss: its position %d is in the log, which goes from %d to %d; "+
			"to skip a batch that cannot be read give --at", next.Next, t.Start, t.End)
	}
	return fmt.Sprintf("goes on at %d; the offsets from %d to %d are lost, as the ledger says", at, next.Next, at-1),
		found.store.Skip(ctx, next, at)
}
