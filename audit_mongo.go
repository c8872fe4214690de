package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"footfall/sink"
	"footfall/sink/mongo"
	"footfall/sink/postgres"
)

var errNoMongo = errors.New("no MongoDB: give --mongo-url")

// minutesTold bounds how many minutes that differ are told; --json has all of them.
const minutesTold = 20

// compare adds what the second store says. That it cannot be read is a problem like
// others: the accounts of the first are told all the same.
func (c *auditCmd) compare(ctx context.Context, p *program, rows *postgres.Store, found *audit) {
	problem := func(format string, args ...any) {
		found.Problems = append(found.Problems, postgres.AuditProblem{Check: "mongo", Detail: fmt.Sprintf(format, args...)})
	}
	documents, err := mongo.Open(ctx, mongo.Options{URL: string(c.MongoURL), Logger: p.log})
	if err != nil {
		problem("%s", err)
		return
	}
	defer documents.Close()
	found.Mongo, err = sink.Compare(ctx, rows, documents, time.Time(c.Since))
	if err != nil {
		problem("%s", err)
		return
	}
	for i, m := range found.Mongo.Differ {
		if i == minutesTold {
			problem("and %d minutes more", len(found.Mongo.Differ)-i)
			break
		}
		problem("%s", minute(m))
	}
	if n := found.Mongo.Behind; n > 0 {
		problem("one store is %d records behind the other: what differs may be on its way", n)
	}
}

// minute tells one minute in which the stores differ.
func minute(m sink.Minute) string {
	parts := []string{fmt.Sprintf("%s: %d rows, %d documents", m.Start.Format("2006-01-02 15:04"), m.Rows, m.Documents)}
	for _, kind := range []struct {
		sink.Events
		name string
	}{{m.OnlyPostgres, "only in PostgreSQL"}, {m.OnlyMongo, "only in MongoDB"}, {m.Different, "with other content"}} {
		if kind.N == 0 {
			continue
		}
		ids := make([]string, len(kind.IDs))
		for i, id := range kind.IDs {
			ids[i] = id.String()
		}
		more := ""
		if kind.N > int64(len(ids)) {
			more = ", …"
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s%s)", kind.N, kind.name, strings.Join(ids, ", "), more))
	}
	return strings.Join(parts, "; ")
}

func otherArrivals(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d came twice, and each store keeps another arrival)", n)
}
