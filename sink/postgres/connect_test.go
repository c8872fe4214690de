package postgres

import (
	"net/url"
	"strings"
	"testing"

	"footfall/sink/postgres/pgtest"
)

const inC = "template template0 lc_collate 'C' lc_ctype 'C'"

// In a database of LATIN1 this title was twelve characters, and nobody was told.
const russian = "Привет"

func TestADatabaseOfAnotherEncodingIsRefused(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "KOI8R", "EUC_JP"} {
		url := pgtest.New(t, "encoding '"+encoding+"'", inC)
		for name, open := range map[string]func() (*Store, error){
			"Open":    func() (*Store, error) { return Open(t.Context(), Options{DatabaseURL: url}) },
			"Connect": func() (*Store, error) { return Connect(t.Context(), Options{DatabaseURL: url}) },
		} {
			s, err := open()
			if err == nil {
				s.Close()
				t.Errorf("%s took a database of %s", name, encoding)
				continue
			}
			for _, part := range []string{encoding, "createdb NAME -E UTF8 -T template0"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s says %q, which does not name %s", name, err, part)
				}
			}
		}
		if pgtest.Get[bool](t, url, "select to_regnamespace('footfall') is not null") {
			t.Errorf("a refused database of %s was changed", encoding)
		}
	}
}

func TestADatabaseWithoutAnEncodingHoldsUTF8AndIsFlagged(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, "encoding 'SQL_ASCII'", inC)
	s := openAt(t, url)
	own(t, s, 0)
	list := titled(russian, "grün")
	list[1].Props = []byte(`{"имя":"Ёж"}`)
	write(t, s, part(0, 0, encoded(append(list, list[0])...)...))
	wantCounts(t, url, counts{rows: 2, in: 3, inserted: 2, duplicate: 1})
	if n := pgtest.Get[int](t, url, "select octet_length(max(title)) from footfall.events"); n != len(russian) {
		t.Errorf("the title takes %d bytes, want %d", n, len(russian))
	}
	rows, _, err := s.Recent(t.Context(), "", 10)
	if err != nil || len(rows) != 2 || rows[0].Title != russian || !strings.Contains(string(rows[1].Props), "Ёж") {
		t.Errorf("rows are %+v, %v", rows, err)
	}
	if w := s.Warning(); w == nil || !strings.Contains(w.Error(), "encoding is SQL_ASCII") {
		t.Errorf("health warns of %v", w)
	}
}

// Neither the URL nor the role nor the database has a say in what encoding we send.
func TestTheSinkSendsUTF8WhateverTheClientIsSetTo(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	pgtest.Exec(t, database, `do $$ begin execute format('alter database %I set client_encoding = LATIN1',
		current_database()); end $$`)
	for i, query := range []string{"", "client_encoding=LATIN1", "options=-c%20client_encoding%3DLATIN1"} {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = query
		s := openAt(t, u.String())
		from := own(t, s, 0)[0]
		write(t, s, part(0, from, encoded(titled(russian)...)...))
		if n := pgtest.Get[int](t, database, "select count(*) from footfall.events where char_length(title) = 6"); n != i+1 {
			t.Errorf("with %q %d titles have six characters, want %d", query, n, i+1)
		}
	}
}

func TestModesOfStatementsThatCannotBeAreNotUsed(t *testing.T) {
	t.Parallel()
	_, address := open(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for p, mode := range []string{"simple_protocol", "exec", "cache_statement", "describe_exec", "cache_describe"} {
		q := u.Query()
		q.Set("default_query_exec_mode", mode)
		u.RawQuery = q.Encode()
		s := openAt(t, u.String())
		own(t, s, int32(p))
		list := encoded(events(3, today())...)
		write(t, s, part(int32(p), 0, list...))
		write(t, s, part(int32(p), 3, list...))
	}
	wantCounts(t, address, counts{rows: 15, in: 30, inserted: 15, duplicate: 15})
}
