package main

import (
	"context"
	"encoding/json"
	"errors"

	"footfall/sink/postgres"
	"footfall/site"

	"github.com/VictoriaMetrics/metrics"
)

type siteFlags struct {
	SiteListen address `help:"Address of the demo site and the live view." default:"127.0.0.1:8081"`
}

// siteCmd is the demo site and the live view as a process of its own.
type siteCmd struct {
	siteFlags
	databaseFlags
	adminFlags
	Collector baseURL `help:"The collector as browsers reach it." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Site      string  `help:"Site name of the demo pages." default:"demo"`
}

// Validate says what is missing; kong calls it.
func (c *siteCmd) Validate() error {
	if c.DatabaseURL == "" {
		return errNoDatabase
	}
	return nil
}

// Run serves until ctx ends.
func (c *siteCmd) Run(ctx context.Context, p *program) error {
	set := metrics.NewSet()
	store, err := postgres.Connect(ctx, postgres.Options{DatabaseURL: string(c.DatabaseURL),
		Logger: p.log.With("room", "postgres"), Metrics: set})
	if err != nil {
		return err
	}
	defer store.Close()
	pages := site.New(site.Options{Collector: string(c.Collector), Site: c.Site, Recent: recent(store),
		Logger: p.log.With("room", "site"), Metrics: set})
	ln, err := listen("site-listen", c.SiteListen)
	if err != nil {
		return err
	}
	adminLn, err := listen("admin-listen", c.AdminListen)
	if err != nil {
		return joinClose(err, ln)
	}
	p.log.Info("site listens", "version", version(), "listen", ln.Addr().String(),
		"collector", c.Collector)
	a := &admin{set: set, log: p.log, health: []health{{"database",
		func(ctx context.Context) (refused, degraded error) {
			return store.Ping(ctx), nil
		}}}}
	return a.beside(ctx, adminLn, pages.Run,
		func(ctx context.Context) error { return serve(ctx, ln, pages) })
}

// recent reads new rows for the live view.
func recent(store *postgres.Store) func(context.Context, string, int) ([]site.Event, string, error) {
	return func(ctx context.Context, cursor string, limit int) ([]site.Event, string, error) {
		rows, next, err := store.Recent(ctx, cursor, limit)
		events := make([]site.Event, len(rows))
		for i, r := range rows {
			events[i] = site.Event{
				ID: r.EventID.String(), Site: r.Site, Type: string(r.Type), Name: r.Name,
				URL: r.URL, Hostname: r.Hostname, Path: r.Path, Title: r.Title,
				Referrer: r.Referrer, Country: r.Country, Browser: r.Browser, OS: r.OS,
				Device: r.Device, Language: r.Language, Transport: r.Transport,
				SessionID: r.SessionID, VisitorID: r.VisitorID, Bot: r.Bot,
				OccurredAt: r.OccurredAt, ReceivedAt: r.ReceivedAt, LoadedAt: r.LoadedAt,
				Props: json.RawMessage(r.Props),
			}
		}
		return events, next, err
	}
}

// joinClose closes what was opened before something went wrong.
func joinClose(err error, opened ...interface{ Close() error }) error {
	for _, o := range opened {
		err = errors.Join(err, o.Close())
	}
	return err
}
