package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"footfall/collector/spool"
	"footfall/event"
	"footfall/sink"
	"footfall/sink/consume"
	"footfall/sink/postgres"

	"github.com/VictoriaMetrics/metrics"
)

// auditCmd compares the accounts of everything that was accepted and stored. It changes
// nothing and may run beside sinks, from cron.
type auditCmd struct {
	dataFlags
	kafkaFlags
	databaseFlags
	mongoFlags
	Since  timeAgo   `help:"Only the ledger and the rows since then: a duration like 3h, or a time like 2026-01-31T12:00:00Z." placeholder:"WHEN"`
	Within retention `help:"How long after a later one a record may arrive before it is missing, at most 10m." default:"10m"`
	Mongo  bool      `help:"Compare the rows with MongoDB too, by minute: those of the last 24h, or --since."`
	JSON   bool      `name:"json" help:"Print the findings as JSON."`
}

// Validate holds the bound of --within; kong calls it.
func (c *auditCmd) Validate() error {
	if c.Mongo && c.MongoURL == "" {
		return errNoMongo
	}
	if time.Duration(c.Within) > postgres.AuditWithin {
		return fmt.Errorf("within: %s is more than %s", time.Duration(c.Within), postgres.AuditWithin)
	}
	return nil
}

// audit is what the command found: the database's accounts, and what waits before it.
type audit struct {
	*postgres.Audit
	InTopic *int64           `json:"in_topic"` // records behind the positions; null: not asked
	InSpool *waitingSpool    `json:"in_spool"` // of the running up; null: there is none
	Behind  []int32          `json:"behind"`   // partitions with unread records that are older than Within; null: not asked
	Mongo   *sink.Comparison `json:"mongo"`    // null: not asked, or it could not be read
}

type waitingSpool struct {
	Spool event.UUID `json:"spool"`
	Last  int64      `json:"last"` // number of the newest accepted event
}

// Run prints a verdict. It is a problem when something does not add up, and when nobody
// knows: who asks from cron wants to hear of a partition that hides a loss.
func (c *auditCmd) Run(ctx context.Context, p *program) error {
	up, ok, err := c.running()
	if err != nil {
		return err
	}
	found := audit{}
	if ok && c.DatabaseURL == "" {
		c.DatabaseURL = databaseURL(up.DatabaseURL)
		found.InSpool = spoolOf(filepath.Join(c.Data, "spool"))
		if len(c.Brokers) == 0 {
			c.Brokers = up.Brokers
		}
	}
	store, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer store.Close()
	found.Audit, err = store.Audit(ctx, postgres.AuditOptions{Since: time.Time(c.Since),
		Within: time.Duration(c.Within)})
	if err != nil {
		return err
	}
	if len(c.Brokers) > 0 {
		if err := c.behind(ctx, p, &found); err != nil {
			return err
		}
	} else if !ok {
		found.doubt(time.Duration(c.Within))
	}
	if c.Mongo {
		c.compare(ctx, p, store, &found)
	}
	if c.JSON {
		err = json.NewEncoder(p.out).Encode(found)
	} else {
		err = found.print(p.out)
	}
	if err == nil && len(found.Problems)+len(found.NotKnown) > 0 {
		err = errTold
	}
	return err
}

// open connects to the database of the settings, for a command that reads or repairs.
func (d *databaseFlags) open(ctx context.Context, p *program) (*postgres.Store, error) {
	if d.DatabaseURL == "" {
		return nil, errNoDatabase
	}
	return postgres.Connect(ctx, postgres.Options{DatabaseURL: string(d.DatabaseURL), Logger: p.log,
		Metrics: metrics.NewSet()})
}

// spoolOf returns nil when there is no spool that can be read.
func spoolOf(dir string) *waitingSpool {
	id, err := spool.ReadID(dir)
	if err != nil {
		return nil
	}
	infos, err := spool.Inspect(dir)
	if err != nil {
		return nil
	}
	w := &waitingSpool{Spool: id}
	for _, s := range infos {
		w.Last = max(w.Last, int64(s.Last))
	}
	return w
}

// behind counts the records of the topic that no position has passed. A position whose
// records are gone from the topic is a problem: they do not wait for anybody.
func (c *auditCmd) behind(ctx context.Context, p *program, found *audit) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cluster, err := c.cluster()
	if err != nil {
		return err
	}
	r, err := consume.Check(ctx, consume.Options{Kafka: cluster, Topic: c.Topic, Logger: p.log})
	if err != nil {
		return err
	}
	old, err := consume.OffsetsAt(ctx, consume.Options{Kafka: cluster, Topic: c.Topic, Logger: p.log},
		found.At.Add(-time.Duration(c.Within)))
	if err != nil {
		return err
	}
	n := int64(0)
	found.Behind = []int32{}
	for _, t := range r.Partitions {
		next := t.Start
		for _, a := range found.Partitions {
			if a.Cluster == r.ClusterID && a.TopicID == r.TopicID && a.Partition == t.Partition {
				next = a.Next
			}
		}
		if why := stopped(t, next); why != "" {
			found.Problems = append(found.Problems, postgres.AuditProblem{Check: "topic", Detail: why})
		}
		n += max(0, t.End-max(next, t.Start))
		if until, answers := old[t.Partition]; !answers || next < until {
			found.Behind = append(found.Behind, t.Partition)
		}
	}
	found.InTopic = &n
	if len(found.Behind) > 0 {
		found.DoubtSpools()
	}
	return nil
}

// doubt says of numbers that are not here what only the brokers can tell.
func (a *audit) doubt(within time.Duration) {
	for i := range a.Problems {
		if p := &a.Problems[i]; p.Check == "spool" {
			p.Detail += fmt.Sprintf(" (or a partition of the topic is more than %s behind: --brokers tells)", within)
		}
	}
}

// marks returns what stands before the lines of each check, "" where all is well.
func (a *audit) marks() map[string]string {
	m := map[string]string{}
	for _, p := range a.NotKnown {
		m[p.Check] = "?? "
	}
	for _, p := range a.Problems {
		m[p.Check] = "BAD"
	}
	return m
}

// print writes a line of each account, then the problems, then the verdict.
func (a *audit) print(w io.Writer) error {
	marks := a.marks()
	var errs []error
	line := func(checks []string, format string, args ...any) {
		mark := "ok "
		for _, c := range checks {
			mark = cmp.Or(marks[c], mark)
		}
		_, err := fmt.Fprintf(w, mark+"  "+format+"\n", args...)
		errs = append(errs, err)
	}
	var sum postgres.AuditPartition
	var begun []string
	for _, p := range a.Partitions {
		sum.Lines += p.Lines
		sum.In += p.In
		sum.Inserted += p.Inserted
		sum.Duplicate += p.Duplicate
		sum.Dead += p.Dead
		sum.Lost += p.Lost
		if p.Began > 0 {
			begun = append(begun, fmt.Sprintf("%s before %d", p, p.Began))
		}
	}
	since := ""
	if !a.Since.IsZero() {
		since = " since " + a.Since.UTC().Format(time.RFC3339)
	}
	line([]string{"ledger", "position", "sums"}, "ledger  %d records%s = %d rows + %d duplicates + %d dead letters "+
		"(%d partitions, %d lines)", sum.In, since, sum.Inserted, sum.Duplicate, sum.Dead, len(a.Partitions), sum.Lines)
	if sum.Lost > 0 {
		line(nil, "lost    %d offsets%s were gone from Kafka, and skipped by positions resume", sum.Lost, since)
	}
	if len(begun) > 0 {
		line(nil, "begun   records were gone from Kafka before a sink first came: %s", strings.Join(begun, ", "))
	}
	line([]string{"rows"}, "rows    %d counted%s, %d there (%d erased in all)", a.Counted, since, a.Rows, a.Erased)
	line([]string{"dead"}, "dead    %d letters wait, %d are settled", a.DeadWaiting, a.DeadSettled)
	for _, s := range a.Spools {
		onTheWay := s.OnTheWay
		if a.InSpool != nil && a.InSpool.Spool == s.Spool {
			onTheWay += max(0, a.InSpool.Last-s.Last)
		}
		mark, notKnown := []string{}, ""
		if s.Missing+s.NotKnown > 0 {
			mark = append(mark, "spool")
		}
		if s.NotKnown > 0 {
			notKnown = fmt.Sprintf(" + %d not known yet", s.NotKnown)
		}
		line(mark, "spool   %s: %d accepted (numbers from %d) = %d arrived + %d on the way + %d missing%s",
			s.Spool, s.Arrived+onTheWay+s.Missing+s.NotKnown, s.First, s.Arrived, onTheWay, s.Missing, notKnown)
	}
	if a.InTopic != nil {
		line([]string{"topic"}, "topic   %d records wait for the sink", *a.InTopic)
	}
	if len(a.Behind) > 0 {
		line([]string{"spool"}, "behind  partitions %s: what waits there is old enough to hold any number that is not here", a.behind())
	}
	if m := a.Mongo; m != nil {
		line([]string{"mongo"}, "mongo   %d documents, %d rows in %d minutes from %s to %s, received since %s%s",
			m.Documents, m.Rows, m.Minutes, m.From.Format(time.RFC3339), m.To.Format(time.RFC3339),
			m.Began.Format(time.RFC3339), otherArrivals(m.OtherArrivals))
	}
	for _, p := range a.Problems {
		_, err := fmt.Fprintf(w, "BAD  %s: %s\n", p.Check, p.Detail)
		errs = append(errs, err)
	}
	for _, p := range a.NotKnown {
		_, err := fmt.Fprintf(w, "??   %s: %s\n", p.Check, p.Detail)
		errs = append(errs, err)
	}
	_, err := fmt.Fprintln(w, a.verdict(sum.Lost > 0 || len(begun) > 0))
	return errors.Join(append(errs, err)...)
}

// behind names the partitions.
func (a *audit) behind() string { return strings.Trim(fmt.Sprint(a.Behind), "[]") }

// verdict is one line; gone says that Kafka had dropped records before they were read.
func (a *audit) verdict(gone bool) string {
	said := "Every record is a row, a duplicate of one, or a dead letter."
	if gone {
		said = "Every record that Kafka still had is a row, a duplicate of one, or a dead letter."
	}
	switch n := len(a.Problems); {
	case n == 1:
		said = "1 problem: the accounts do not add up."
	case n > 1:
		said = fmt.Sprintf("%d problems: the accounts do not add up.", n)
	case len(a.NotKnown) > 0:
		said = "No problem is found, and one may be hidden."
	}
	if len(a.NotKnown) == 0 {
		return said
	}
	n := int64(0)
	for _, s := range a.Spools {
		n += s.NotKnown
	}
	return fmt.Sprintf("%s Not known yet: whether %d numbers are missing or wait in partitions %s; ask again when those are read.",
		said, n, a.behind())
}
