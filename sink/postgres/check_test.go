package postgres

import (
	"strings"
	"testing"

	"footfall/sink/postgres/pgtest"
)

func TestWhatMayForgetCommitsIsFlagged(t *testing.T) {
	t.Parallel()
	sure := Report{Fsync: true, FullPageWrites: true, SynchronousCommit: "on"}
	if list := sure.Problems(); len(list) != 0 {
		t.Errorf("a sure server has problems: %q", list)
	}
	for word, r := range map[string]Report{
		"fsync is off":              {FullPageWrites: true, SynchronousCommit: "on"},
		"full_page_writes is off":   {Fsync: true, SynchronousCommit: "local"},
		"encoding is SQL_ASCII":     {Fsync: true, FullPageWrites: true, SynchronousCommit: "on", Encoding: "SQL_ASCII"},
		"synchronous_commit is off": {Fsync: true, FullPageWrites: true, SynchronousCommit: "off"},
	} {
		if list := r.Problems(); len(list) != 1 || !strings.HasPrefix(list[0], word) {
			t.Errorf("problems are %q, want one that begins with %q", list, word)
		}
	}
}

// With synchronous_commit off the server is flagged, and the sink's own commits wait all the
// same.
func TestCommitsOfASinkAreSynchronous(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, "create table footfall.seen (commits text)")
	pgtest.Exec(t, url, `create function footfall.f() returns trigger language plpgsql as $$ begin
		insert into footfall.seen values (current_setting('synchronous_commit')); return new; end $$`)
	pgtest.Exec(t, url, `create trigger f before insert on footfall.events for each row
		execute function footfall.f()`)
	pgtest.Exec(t, url, `do $$ begin execute format('alter database %I set synchronous_commit = off',
		current_database()); end $$`)
	s.pool.Reset()
	if err := s.inspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := s.Warning(); w == nil || !strings.Contains(w.Error(), "synchronous_commit is off") {
		t.Errorf("health warns of %v", w)
	}
	write(t, s, part(0, 0, encoded(events(3, today())...)...))
	if got := pgtest.Get[string](t, url, "select string_agg(distinct commits, ' ') from footfall.seen"); got != "on" {
		t.Errorf("rows were stored with synchronous_commit = %s", got)
	}
}
