package site

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/sink/postgres"
	"footfall/sink/postgres/pgtest"
)

// board is what of a Grafana dashboard decides what is asked of the database.
type board struct {
	Templating struct {
		List []struct {
			Name, Type string
			Query      string
		}
	}
	Panels []struct {
		Title, Type string
		Targets     []struct{ RawSQL, Format string }
	}
}

func readBoard(t *testing.T) board {
	t.Helper()
	text, err := os.ReadFile("grafana/dashboards/traffic.json")
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

var macro = regexp.MustCompile(`\$([_a-zA-Z0-9]+)\(([^\)]*)\)`)

// expand does to a query what Grafana's PostgreSQL data source does before it sends it: the
// macros timeFilter, timeGroup, timeGroupAlias, timeFrom and timeTo (arguments end at the first
// closing bracket there too), interval and interval_ms, and variables in the format sqlstring.
// What it does not know stays and fails in the database.
func expand(
	sql string, from, to time.Time, interval time.Duration, vars map[string][]string,
) string {
	for name, values := range vars {
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		sql = strings.ReplaceAll(sql, "${"+name+":sqlstring}", strings.Join(quoted, ","))
	}
	sql = strings.ReplaceAll(sql, "$__interval_ms", fmt.Sprint(interval.Milliseconds()))
	sql = strings.ReplaceAll(sql, "$__interval", interval.String())
	stamp := func(t time.Time) string { return "'" + t.UTC().Format(time.RFC3339Nano) + "'" }
	return macro.ReplaceAllStringFunc(sql, func(call string) string {
		m := macro.FindStringSubmatch(call)
		args := strings.Split(m[2], ",")
		for i := range args {
			args[i] = strings.TrimSpace(args[i])
		}
		switch m[1] {
		case "__timeFilter":
			return args[0] + " BETWEEN " + stamp(from) + " AND " + stamp(to)
		case "__timeFrom":
			return stamp(from)
		case "__timeTo":
			return stamp(to)
		case "__timeGroup", "__timeGroupAlias":
			width, err := time.ParseDuration(strings.Trim(args[1], "'"))
			if err != nil {
				return call
			}
			group := fmt.Sprintf("floor(extract(epoch from %s)/%v)*%v",
				args[0], width.Seconds(), width.Seconds())
			if m[1] == "__timeGroupAlias" {
				group += ` AS "time"`
			}
			return group
		}
		return call
	})
}

// eventsTable gives a connection to an empty table, made by the sink's own migrations.
func eventsTable(t *testing.T) *pgx.Conn {
	t.Helper()
	url := pgtest.New(t)
	store, err := postgres.Open(t.Context(), postgres.Options{DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	return pgtest.Connect(t, url)
}

// fillEvents writes three hours of events of two sites: every type, bots, holes in the columns
// that may be null, and a site whose name wants quoting.
func fillEvents(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const fill = `
insert into footfall.events (event_id, schema, site, type, name, occurred_at, received_at, clock,
	hostname, path, referrer_host, channel, utm_source, utm_medium, utm_campaign, visitor_id,
	country, browser, os, device, bot, bot_reasons, engaged_ms, transport, gpc, loaded_at)
select gen_random_uuid(), 1, (array['demo', 'o''hara'])[1 + i % 2], k.type,
	case when k.type in ('click', 'form', 'custom') then 'name ' || i % 4 end,
	at, at + interval '20 ms', 'client', 'shop.example', '/p/' || i % 9,
	case when i % 3 = 0 then 'news.example' end, case when i % 3 = 0 then 'referral' end,
	case when i % 5 = 0 then 'letter' end, case when i % 5 = 0 then 'email' end,
	case when i % 10 = 0 then 'autumn' end, 'v' || i % 40,
	(array['DE', 'PT', null])[1 + i % 3], (array['Chrome', 'Firefox'])[1 + i % 2],
	(array['Windows', 'iOS'])[1 + i % 2], (array['desktop', 'mobile'])[1 + i % 2],
	i % 8 = 0, case when i % 8 = 0 then array['user-agent', 'headless'] end,
	case when k.type = 'leave' then 1000 + i end, 'fetch', i % 20 = 0, at + interval '150 ms'
from generate_series(1, 2000) i,
	lateral (select now() - i * interval '5 seconds' as at) a,
	lateral (select (array['pageview', 'pageview', 'pageview', 'click', 'form', 'custom',
		'leave'])[1 + i % 7] as type) k`
	if _, err := conn.Exec(t.Context(), fill); err != nil {
		t.Fatal(err)
	}
}

// ask runs one query and returns the names of its columns and the number of its rows.
func ask(ctx context.Context, conn *pgx.Conn, sql string) (columns []string, n int, err error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for _, f := range rows.FieldDescriptions() {
		columns = append(columns, f.Name)
	}
	for rows.Next() {
		n++
	}
	return columns, n, rows.Err()
}

// askAll runs every query of the board and gives each answer to check.
func askAll(
	t *testing.T, conn *pgx.Conn, sites []string,
	check func(title, format string, columns []string, n int),
) {
	t.Helper()
	b := readBoard(t)
	to := time.Now()
	run := func(title, format, sql string) {
		vars := map[string][]string{"site": sites, "bots": {"hide"}}
		sql = expand(sql, to.Add(-6*time.Hour), to, time.Minute, vars)
		columns, n, err := ask(t.Context(), conn, sql)
		if err != nil {
			t.Errorf("%s: %v\n%s", title, err, sql)
			return
		}
		check(title, format, columns, n)
	}
	for _, v := range b.Templating.List {
		if v.Type == "query" {
			run("variable "+v.Name, "table", v.Query)
		}
	}
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			run(p.Title, target.Format, target.RawSQL)
		}
	}
}

func TestEveryQueryOfTheBoardAnswersOnAFilledDatabase(t *testing.T) {
	t.Parallel()
	conn := eventsTable(t)
	fillEvents(t, conn)
	asked := 0
	askAll(t, conn, []string{"demo", "o'hara"}, func(title, format string, columns []string, n int) {
		asked++
		if n == 0 {
			t.Errorf("%s: no rows", title)
		}
		if format == "time_series" && columns[0] != "time" {
			t.Errorf("%s: first column is %q, want time", title, columns[0])
		}
	})
	if asked < 20 {
		t.Errorf("%d queries answered, want all of the board", asked)
	}
}

// Grafana expands "All" to nothing while there is no site yet.
func TestEveryQueryOfTheBoardAnswersOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	conn := eventsTable(t)
	askAll(t, conn, nil, func(string, string, []string, int) {})
}

func TestTheBoardUsesTheDataSourceThatIsProvisioned(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("grafana/provisioning/datasources/footfall.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dashboard, err := os.ReadFile("grafana/dashboards/traffic.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"uid: footfall", "type: grafana-postgresql-datasource"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("data source lacks %q", want)
		}
	}
	uids := regexp.MustCompile(`"type": "grafana-postgresql-datasource",\s+"uid": "(\w+)"`)
	found := uids.FindAllStringSubmatch(string(dashboard), -1)
	if len(found) == 0 {
		t.Error("no panel names the data source")
	}
	for _, m := range found {
		if m[1] != "footfall" {
			t.Errorf("a panel asks data source %q", m[1])
		}
	}
}
