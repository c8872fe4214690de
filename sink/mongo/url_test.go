package mongo

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

func TestWhatThePromiseRestsOnIsNotTheURLsToSay(t *testing.T) {
	opts, name, err := configure("mongodb://u:p%40ss@h1:27017,h2:27017/shop?w=0&journal=false&readPreference=secondary&replicaSet=rs")
	if err != nil {
		t.Fatal(err)
	}
	if name != "shop" || opts.WriteConcern.W != "majority" || !*opts.WriteConcern.Journal ||
		opts.ReadPreference.Mode() != readpref.PrimaryMode || opts.ReadConcern.Level != "majority" {
		t.Errorf("%s, %+v, %v, %+v", name, opts.WriteConcern, opts.ReadPreference, opts.ReadConcern)
	}
	if opts.Auth.Password != "p@ss" || *opts.ReplicaSet != "rs" || len(opts.Hosts) != 2 {
		t.Errorf("the URL's own is lost: %+v", opts)
	}
}

func TestTheDatabaseIsFootfallUnlessNamed(t *testing.T) {
	for url, want := range map[string]string{"mongodb://h": "footfall", "mongodb://h/": "footfall",
		"mongodb://h/?w=1": "footfall", "mongodb://h1:1,h2:2/a%20b": "a b", "mongodb://u:p@h/x?w=1": "x"} {
		if got := databaseOf(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestBadURLsAreRefusedWithoutTheirPassword(t *testing.T) {
	for _, url := range []string{"", "postgres://u:hunter2@h/x", "mongodb://", "mongodb://u:hunter2@h:0/x",
		"mongodb://u:hunter2@h:99999/x", "mongodb://u:hunter2/3@h/x", "mongodb://u:hun@ter2@h/x",
		"mongodb://u:hunter2@h/?w=hunter2&maxPoolSize=x", "mongodb://u:%zzhunter2@h/x"} {
		err := CheckURL(url)
		if err == nil {
			t.Errorf("%s is taken", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun@ter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"mongodb://h", "mongodb://u:p@h1:1,h2:2/x?replicaSet=r", "mongodb+srv://u:p@h.example/x"} {
		if err := CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
