package postgres

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// account queues what the audit compares later: how many records of each site and hour
// became what, and which numbers of which spools have arrived. Lines are appended, never
// changed: a line that several writers add to would make them wait for each other's
// commit, and all of them for a sink that hangs. See footfall.fold().
func account(batch *pgx.Batch, w *work) {
	lines := w.siteHours(time.Now())
	sites, hours := make([]string, len(lines)), make([]time.Time, len(lines))
	inserted, duplicate, dead := make([]int64, len(lines)), make([]int64, len(lines)), make([]int64, len(lines))
	for i, l := range lines {
		sites[i], hours[i] = l.site, time.Unix(l.hour*hourSeconds, 0).UTC()
		inserted[i], duplicate[i], dead[i] = l.inserted, l.duplicate, l.dead
	}
	batch.Queue(`insert into footfall.tallies (site, hour, n_inserted, n_duplicate, n_dead)
		select * from unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[])`,
		sites, hours, inserted, duplicate, dead)
	for _, a := range w.arrivals() {
		batch.Queue("insert into footfall.arrivals (spool_id, seqs) values ($1, $2::text::int8multirange)",
			[16]byte(a.spool), a.seqs)
	}
}

const hourSeconds = 60 * 60

// siteHour is a line of footfall.tallies.
type siteHour struct {
	site string
	hour int64 // since 1970
	tally
}

// siteHours counts the records of each site and hour of occurred_at. A record that could
// not be read has no site, and the hour of now.
func (w *work) siteHours(now time.Time) []*siteHour {
	type key struct {
		site string
		hour int64
	}
	found := map[key]*siteHour{}
	var list []*siteHour
	var last *siteHour // most records are of the same site and hour as the one before
	for i := range w.rows {
		r := &w.rows[i]
		at := key{r.site, now.Unix() / hourSeconds}
		if !r.id.IsZero() {
			at.hour = r.id.Time().Unix() / hourSeconds
		}
		if last == nil || last.hour != at.hour || last.site != at.site {
			if last = found[at]; last == nil {
				last = &siteHour{site: at.site, hour: at.hour}
				found[at] = last
				list = append(list, last)
			}
		}
		switch {
		case r.state == refused:
			last.dead++
		case r.inserted:
			last.inserted++
		default:
			last.duplicate++
		}
	}
	return list
}

// arrival is a line of footfall.arrivals.
type arrival struct {
	spool event.UUID
	seqs  string // a multirange, as text
}

// arrivals gathers the numbers of the records by spool. Most batches are of a few spools
// and hold nearly all numbers between the first and the last, so ranges are short to say.
func (w *work) arrivals() []arrival {
	bySpool := map[event.UUID][]event.Origin{}
	for i := range w.rows {
		if o := w.rows[i].record.Origin; o.Seq > 0 {
			bySpool[o.Spool] = append(bySpool[o.Spool], o)
		}
	}
	list := make([]arrival, 0, len(bySpool))
	for spool, origins := range bySpool {
		list = append(list, arrival{spool, multirange(origins)})
	}
	return list
}

// multirange writes the numbers as PostgreSQL reads them: {[1,4),[7,8)}.
func multirange(origins []event.Origin) string {
	slices.SortFunc(origins, func(a, b event.Origin) int { return int(int64(a.First) - int64(b.First)) })
	b := []byte{'{'}
	from, to := origins[0].First, origins[0].Seq
	write := func() {
		b = strconv.AppendUint(append(b, '['), from, 10)
		b = append(strconv.AppendUint(append(b, ','), to+1, 10), ')')
	}
	for _, o := range origins[1:] {
		if o.First <= to+1 {
			to = max(to, o.Seq)
			continue
		}
		write()
		b = append(b, ',')
		from, to = o.First, o.Seq
	}
	write()
	return string(append(b, '}'))
}

// names keeps one copy of each name, so that a row does not hold on to the whole text of
// its record.
type names map[string]string

func (n names) keep(name string) string {
	if kept, ok := n[name]; ok {
		return kept
	}
	name = strings.Clone(name)
	n[name] = name
	return name
}
