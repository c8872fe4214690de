package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"footfall/kafka"
	"footfall/sink"
	"footfall/sink/consume"
	"footfall/sink/postgres"
)

// replayFlags make a sink copy a part of the topic into a fresh table, once.
type replayFlags struct {
	Into table `help:"Replay into this new table of PostgreSQL instead of going on where the sink is: the same events end as the same rows." placeholder:"TABLE"`
	From bound `help:"Where the replay begins: a time of Kafka's, a duration before now, or offsets by partition like 0:1200,3:0; where the logs start when left out." placeholder:"WHEN|P:N,…"`
	To   bound `help:"Where it ends, with the record before that; where the logs end when it begins when left out." placeholder:"WHEN|P:N,…"`
}

type (
	table string // that is not there yet
	bound consume.Bound
)

func readTable(s string) (table, error) { return table(s), postgres.CheckReplayName(s) }

func readBound(s string) (bound, error) {
	if !strings.Contains(s, ":") || strings.ContainsAny(s, "-T") {
		at, err := readTimeAgo(s)
		if err != nil {
			return bound{}, fmt.Errorf("%w, nor offsets like 0:1200,3:0", err)
		}
		return bound{Time: time.Time(at)}, nil
	}
	b := bound{Offsets: map[int32]int64{}}
	for pair := range strings.SplitSeq(s, ",") {
		left, right, _ := strings.Cut(strings.TrimSpace(pair), ":")
		p, err := readPartition(left)
		n, nerr := strconv.ParseInt(right, 10, 64)
		if _, twice := b.Offsets[int32(p)]; err != nil || nerr != nil || n < 0 || twice {
			return bound{}, fmt.Errorf("%q is not a list of offsets by partition like 0:1200,3:0", s)
		}
		b.Offsets[int32(p)] = n
	}
	return b, nil
}

func (b bound) isZero() bool { return b.Time.IsZero() && b.Offsets == nil }

func (r *replayFlags) checkReplay(url databaseURL) error {
	switch {
	case r.Into == "" && (!r.From.isZero() || !r.To.isZero()):
		return errors.New("--from and --to are of a replay: give --into, the name of a new table")
	case r.Into != "" && url == "":
		return errors.New("--into is a table of PostgreSQL: give --database-url")
	case !r.To.Time.IsZero() && r.From.Time.After(r.To.Time):
		return errors.New("--from is after --to")
	}
	return nil
}

// replay says at its end what became of the records. Status 1 when some became dead
// letters.
func (c *sinkCmd) replay(ctx context.Context, p *program, cluster kafka.Cluster) error {
	done, err := sink.Replay(ctx, sink.ReplayOptions{Kafka: cluster, Topic: c.Topic, DatabaseURL: string(c.DatabaseURL),
		BatchRows: int(c.BatchRows), From: consume.Bound(c.From), To: consume.Bound(c.To), Into: string(c.Into), Logger: p.log})
	if len(done.Ranges) > 0 {
		fmt.Fprintf(p.out, "%d records of %s in %s: %d rows of %s, %d duplicates, %d dead letters in %s%s\n",
			done.Inserted+done.Duplicate+done.Dead, readRanges(done.Ranges), done.Took.Round(time.Millisecond),
			done.Inserted, c.Into, done.Duplicate, done.Dead, c.Into, postgres.DeadSuffix)
	}
	if err != nil {
		return err
	}
	if done.Dead > 0 {
		return errTold
	}
	return nil
}

func readRanges(list []consume.Range) string {
	var parts []string
	for _, r := range list {
		parts = append(parts, fmt.Sprintf("%d:%d-%d", r.Partition, r.From, r.To))
	}
	return strings.Join(parts, ",")
}
