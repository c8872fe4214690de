package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/collector"
	"footfall/collector/sites"
	"footfall/event"
	"footfall/sink/mongo"
	"footfall/snippet"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// cli is every setting there is. A flag --some-thing is also the environment
// variable FOOTFALL_SOME_THING and the key some_thing of footfall.yaml; a flag beats
// the environment, which beats the file. --help and the README's table come from
// here.
type cli struct {
	Config    string    `help:"File of settings and sites; footfall.yaml is read when it is there." placeholder:"FILE"`
	LogLevel  logLevel  `help:"debug, info, warn or error." default:"info"`
	LogFormat logFormat `help:"text or json." default:"text"`

	Up        upCmd        `cmd:"" help:"Run everything in this process: collector, broker, sink, database, demo site."`
	Collector collectorCmd `cmd:"" help:"Take events in and pass them to Kafka."`
	Sink      sinkCmd      `cmd:"" help:"Copy events from Kafka into PostgreSQL, MongoDB or both."`
	Site      siteCmd      `cmd:"" help:"Serve the demo site and the live view."`
	Tail      tailCmd      `cmd:"" help:"Print records of the topic as they arrive, one JSON object a line."`
	Send      sendCmd      `cmd:"" help:"Send test events to a collector."`
	Positions positionsCmd `cmd:"" help:"Show how far each partition is stored, and let a stopped one go on."`
	Spool     spoolCmd     `cmd:"" help:"Read a spool directory: its segments, what is missing, its records."`
	Doctor    doctorCmd    `cmd:"" help:"Check Kafka, PostgreSQL and the way of one event from end to end."`
	Audit     auditCmd     `cmd:"" help:"Compare the accounts of all that was accepted and stored; status 1 when they do not add up, or when that is not known yet."`
	Dead      deadCmd      `cmd:"" help:"List, show, replay or drop the records that the sink could not store."`
	Migrate   migrateCmd   `cmd:"" help:"Bring the schema of the database up to date; a sink does that at its start if it may."`
	Snippet   snippetCmd   `cmd:"" help:"Print the tag of a site, also pinned to its bytes, and its pixel."`
	Secret    secretCmd    `cmd:"" help:"Make a secret for a site's servers."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

type databaseFlags struct {
	DatabaseURL databaseURL `help:"PostgreSQL, as postgres://user:password@host:port/database." env:"FOOTFALL_DATABASE_URL,DATABASE_URL" placeholder:"URL"`
}

type mongoFlags struct {
	MongoURL mongoURL `help:"MongoDB 5 or newer as a second store, or the only one: mongodb://user:password@host:port/database." placeholder:"URL"`
}

type namesFlags struct {
	Names names `help:"What browsers ask the collector for, so that no name says what it is, like beacon=in,pixel=i.gif,script=n; the usual e, p.gif and f go on." placeholder:"KIND=NAME,…"`
}

type collectorFlags struct {
	namesFlags
	Pinned         string    `help:"Directory in which the snippet's files are kept, so that pages pinned to their bytes go on after an upgrade; several collectors may share it. None when left out." placeholder:"DIR"`
	Partitions     count     `help:"Partitions of the topic when it has to be made." default:"12"`
	Listen         address   `help:"Address of the collector: beacon, pixel, snippet." default:"127.0.0.1:8080"`
	Sites          siteList  `help:"Sites whose events are taken, by name. What each of them wants stands in footfall.yaml." default:"demo" placeholder:"SITE,…"`
	Hosts          hostList  `help:"Names under which the collector is reached; a request for another gets 421. Any when left out." placeholder:"HOST,…"`
	AddressRate    rate      `help:"Events and other requests a second that one public address may send; a wrong secret counts for a second of them. 0 for no limit." default:"100"`
	SiteRate       rate      `help:"Events a second of a site without a rate of its own; 0 for no limit." default:"0"`
	TrustedProxies prefixes  `help:"Proxies whose word on the client's address is believed, as networks." placeholder:"CIDR,…"`
	ClientHeader   header    `help:"The one header in which they tell it; doctor --proxy shows what came of it." default:"X-Forwarded-For" placeholder:"NAME"`
	CountryDB      file      `name:"country-db" help:"Country database (mmdb) instead of the built-in one." placeholder:"FILE"`
	SpoolMaxBytes  byteSize  `help:"Most that the spool may take on disk." default:"1GiB"`
	SpoolKeep      retention `help:"How long the spool keeps what was passed on, for spool replay; it gives way when room is needed." default:"0s"`
	SpoolMinFree   byteSize  `help:"What the spool leaves free on the disk." default:"512MiB"`
}

type sinkFlags struct {
	Group     string    `help:"Consumer group of the sink." default:"footfall-sink"`
	BatchRows count     `help:"Most rows of one COPY." default:"10000"`
	Retention retention `help:"How long events are kept, in whole days of occurred_at, like 400d; 0s for ever. Needs the role footfall_eraser." default:"0s"`
}

type adminFlags struct {
	AdminListen address `help:"Address of metrics, health and profiles; keep it private." default:"127.0.0.1:8082"`
}

type dataFlags struct {
	Data string `help:"Directory of a footfall up." default:".footfall" placeholder:"DIR"`
}

// Kinds of settings. Each says in its own words what is wrong with a value.
type (
	logLevel   slog.Level
	logFormat  string
	durability string
	address    string // host:port; port 0 picks a free one
	count      int    // at least 1
	byteSize   int64
	siteList   []string
	hostList   []string // lower case, without a port
	prefixes   []netip.Prefix
	names      snippet.Names
	header     string  // its name
	rate       float64 // a second; 0 for no limit
	duration   time.Duration
	retention  time.Duration // may be 0

	brokers     []string
	databaseURL string
	mongoURL    string
	baseURL     string // http or https, without a path
	file        string // that is there
	anyURL      string // http or https, with a path
	eventTypes  []event.Type
)

// problems gathers what is wrong with the settings, so that all of it is said at
// once.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// collect makes a kind of setting whose bad values are gathered instead of ending
// the parsing.
func collect[T any](p *problems, read func(string) (T, error)) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[T](), kong.MapperFunc(
		func(ctx *kong.DecodeContext, target reflect.Value) error {
			token, err := ctx.Scan.PopValue("value")
			if err != nil {
				return err
			}
			v, err := read(text(token.Value))
			if err != nil {
				p.add("%s: %w", ctx.Value.Name, err)
				return nil
			}
			target.Set(reflect.ValueOf(v))
			return nil
		}))
}

// text is a value as it would stand in a flag; lists of the file are joined, and so are
// mappings: of names to texts as pairs, of sites as their names.
func text(v any) string {
	if byName, ok := v.(map[string]any); ok {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			if of, ok := byName[name].(string); ok {
				name += "=" + of
			}
			parts = append(parts, name)
		}
		return strings.Join(parts, ",")
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	parts := make([]string, len(list))
	for i, item := range list {
		parts[i] = text(item)
	}
	return strings.Join(parts, ",")
}

func kinds(p *problems) []kong.Option {
	return []kong.Option{
		collect(p, readLevel), collect(p, readFormat), collect(p, readDurability), collect(p, readAddress),
		collect(p, readCount), collect(p, readSize), collect(p, readSites), collect(p, readHosts),
		collect(p, readPrefixes), collect(p, readHeader), collect(p, readRate), collect(p, readDuration), collect(p, readRetention), collect(p, readTimeAgo),
		collect(p, readBrokers), collect(p, readDatabaseURL), collect(p, readMongoURL), collect(p, readBaseURL),
		collect(p, readFile), collect(p, readTypes), collect(p, readURL), collect(p, readSequence), collect(p, readLetter),
		collect(p, readNames), collect(p, readMechanism), collect(p, readPartition), collect(p, readOffset), collect(p, readPassword),
		collect(p, readBound), collect(p, readTable),
	}
}

func readLevel(s string) (logLevel, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("%q is not debug, info, warn or error", s)
	}
	return logLevel(l), nil
}

func readFormat(s string) (logFormat, error) {
	if s != "text" && s != "json" {
		return "", fmt.Errorf("%q is not text or json", s)
	}
	return logFormat(s), nil
}

func readDurability(s string) (durability, error) {
	switch collector.Durability(s) {
	case collector.DurabilitySpool, collector.DurabilityKafka, collector.DurabilityMemory:
		return durability(s), nil
	}
	return "", fmt.Errorf("%q is not spool, kafka or memory", s)
}

func readAddress(s string) (address, error) {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port, like 127.0.0.1:8080", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q has no port from 0 to 65535", s)
	}
	return address(s), nil
}

func readCount(s string) (count, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1<<30 {
		return 0, fmt.Errorf("%q is not a whole number from 1", s)
	}
	return count(n), nil
}

func readRate(s string) (rate, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n != n || n > 1e6 {
		return 0, fmt.Errorf("%q is not a number a second", s)
	}
	return rate(n), nil
}

func readDuration(s string) (duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration like 15s or 2m", s)
	}
	return duration(d), nil
}

func readRetention(s string) (retention, error) {
	d, err := sites.ParseRetention(s)
	if err != nil {
		return 0, fmt.Errorf("%q %w", s, err)
	}
	return retention(d), nil
}

func readBrokers(s string) (list brokers, err error) {
	for part := range strings.SplitSeq(s, ",") {
		a, err := readAddress(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		list = append(list, string(a))
	}
	return list, nil
}

func readDatabaseURL(s string) (databaseURL, error) {
	u, err := url.Parse(s)
	if err == nil && u.Scheme != "postgres" && u.Scheme != "postgresql" {
		err = errors.New("not a URL")
	}
	if err != nil && !strings.Contains(s, "=") { // libpq's key=value form
		return "", errors.New("want a URL like postgres://user:password@host:port/database")
	}
	return databaseURL(s), nil
}

func readMongoURL(s string) (mongoURL, error) {
	return mongoURL(s), mongo.CheckURL(s)
}

func readBaseURL(s string) (baseURL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is not a URL like http://127.0.0.1:8080", s)
	}
	return baseURL(strings.TrimSuffix(s, "/")), nil
}

func readURL(s string) (anyURL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is not a URL like https://acme.example/directory", s)
	}
	return anyURL(s), nil
}

func readFile(s string) (file, error) {
	if _, err := os.Stat(s); err != nil {
		return "", err
	}
	return file(s), nil
}

func readTypes(s string) (list eventTypes, err error) {
	for part := range strings.SplitSeq(s, ",") {
		t := event.Type(strings.TrimSpace(part))
		if !slices.Contains(event.Types[:], t) {
			return nil, fmt.Errorf("%q is none of %v", t, event.Types)
		}
		list = append(list, t)
	}
	return list, nil
}

func readSize(s string) (byteSize, error) {
	units := []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > 1<<60/u.bytes {
			break
		}
		return byteSize(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size like 512MiB or 1GiB", s)
}

func readSites(s string) (siteList, error) {
	list := siteList(strings.Split(s, ","))
	for i, site := range list {
		list[i] = strings.TrimSpace(site)
		if list[i] == "" || len(list[i]) > 64 {
			return nil, fmt.Errorf("%q is not a list of names like shop,blog", s)
		}
	}
	return list, nil
}

func readHosts(s string) (list hostList, err error) {
	for host := range strings.SplitSeq(strings.ToLower(s), ",") {
		host = strings.TrimSpace(host)
		if u, err := url.Parse("//" + host); err != nil || host == "" || u.Hostname() == "" || u.Host != host || u.Port() != "" {
			return nil, fmt.Errorf("%q is not a name like c.shop.example, without scheme and port", host)
		}
		list = append(list, host)
	}
	return list, nil
}

func readNames(s string) (names, error) {
	var n snippet.Names
	kinds := map[string]*string{"beacon": &n.Beacon, "pixel": &n.Pixel, "script": &n.Script}
	for pair := range strings.SplitSeq(s, ",") {
		kind, name, _ := strings.Cut(strings.TrimSpace(pair), "=")
		p := kinds[kind]
		if p == nil || *p != "" || name == "" {
			return names{}, fmt.Errorf("%q is not a list like beacon=in,pixel=i.gif,script=n", s)
		}
		*p = name
	}
	return names(n), n.Check()
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func readHeader(s string) (header, error) {
	if !headerName.MatchString(s) {
		return "", fmt.Errorf("%q is not a header's name like X-Forwarded-For", s)
	}
	return header(http.CanonicalHeaderKey(s)), nil
}

func readPrefixes(s string) (list prefixes, err error) {
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if addr, aerr := netip.ParseAddr(part); err != nil && aerr == nil {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a network like 10.0.0.0/8", part)
		}
		list = append(list, p)
	}
	return list, nil
}

// exited ends run with a status after kong has printed what was asked for.
type exited int

func (exited) Error() string { return "exited" }

// parse reads the settings of one invocation. The error names every problem.
func parse(args []string, stdout, stderr io.Writer) (ctx *kong.Context, err error) {
	var p problems
	c := &cli{}
	defer func() {
		// kong leaves the program through Exit after --help.
		if r := recover(); r != nil {
			status, ok := r.(exited)
			if !ok {
				panic(r)
			}
			ctx, err = nil, status
		}
	}()
	parser, err := newParser(c, &p, stdout, stderr, fileOf(args))
	if err != nil {
		return nil, err
	}
	p.unknownEnvironment(parser.Model, os.Environ())
	ctx, err = parser.Parse(args)
	if err != nil {
		p = append(p, err)
	}
	if len(p) > 0 {
		return nil, errors.Join(p...)
	}
	return ctx, nil
}

func newParser(c *cli, p *problems, stdout, stderr io.Writer, file string) (*kong.Kong, error) {
	opts := append(kinds(p),
		kong.Name("footfall"),
		kong.Description("A web-analytics event pipeline: a 2xx means the event is on disk, "+
			"and it becomes exactly one row."),
		kong.UsageOnError(), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Exit(func(status int) { panic(exited(status)) }),
		kong.DefaultEnvars("FOOTFALL"),
	)
	values, err := readSettings(file)
	if err != nil {
		return nil, err
	}
	if values != nil {
		opts = append(opts, kong.Resolvers(fileResolver(values)))
	}
	parser, err := kong.New(c, opts...)
	if err != nil {
		return nil, fmt.Errorf("make settings: %w", err)
	}
	p.unknownKeys(parser.Model, values, file)
	if _, err := readRules(file); err != nil {
		*p = append(*p, err)
	}
	return parser, nil
}

// fileOf finds the settings file before the settings are parsed.
func fileOf(args []string) string {
	for i, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--config="); ok {
			return v
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("FOOTFALL_CONFIG")
}

// defaultFile is read when no other is asked for and it is there.
const defaultFile = "footfall.yaml"

// readFileOf returns nothing when no file was asked for and there is none.
func readFileOf(asked string) ([]byte, error) {
	b, err := os.ReadFile(cmp.Or(asked, defaultFile))
	if asked == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return b, nil
}

func readSettings(name string) (map[string]any, error) {
	b, err := readFileOf(name)
	if b == nil || err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(b, &values); err != nil {
		return nil, fmt.Errorf("read settings %s: %w", cmp.Or(name, defaultFile), err)
	}
	return values, nil
}

func fileKey(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

func fileResolver(values map[string]any) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := values[fileKey(flag.Name)]
		if !ok || slices.ContainsFunc(flag.Envs, isSet) {
			return nil, nil // kong would let the file beat the environment
		}
		return text(v), nil
	})
}

func isSet(variable string) bool {
	_, ok := os.LookupEnv(variable)
	return ok
}

// flags returns every flag of every command, in the order of cli; those that several
// commands share once.
func flags(model *kong.Application) (list []*kong.Flag) {
	seen := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			if what := f.Name + "|" + f.Default + "|" + f.Help; !seen[what] && f.Name != "help" {
				seen[what] = true
				list = append(list, f)
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(model.Node)
	return list
}

func (p *problems) unknownKeys(model *kong.Application, values map[string]any, file string) {
	known := map[string]bool{}
	for _, f := range flags(model) {
		known[fileKey(f.Name)] = true
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !known[key] {
			p.add("%s: %s is no setting; README.md lists them", file, key)
		}
	}
}

// foreign are variables that have our prefix and are not ours: those of the tests, and
// those that Kubernetes sets for a service of our name.
var foreign = regexp.MustCompile(`^FOOTFALL_TEST_|_(PORT|SERVICE)(_|$)`)

func (p *problems) unknownEnvironment(model *kong.Application, environ []string) {
	known := map[string]bool{}
	for _, f := range flags(model) {
		for _, e := range f.Envs {
			known[e] = true
		}
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "FOOTFALL_") && !known[name] && !foreign.MatchString(name) {
			p.add("environment: %s is no setting; README.md lists them", name)
		}
	}
}

func newLogger(ctx *kong.Context, w io.Writer) *slog.Logger {
	c := ctx.Model.Target.Interface().(cli)
	opts := &slog.HandlerOptions{Level: slog.Level(c.LogLevel)}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
