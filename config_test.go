package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// clean hides the settings of whoever runs the tests.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "FOOTFALL_") || name == "DATABASE_URL" {
			t.Setenv(name, "") // puts it back at the end
			os.Unsetenv(name)
		}
	}
}

// settings parses one invocation and returns the command's settings.
func settings(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	ctx, err := parse(args, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	return new(ctx.Model.Target.Interface().(cli)), nil
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "footfall.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	clean(t)
	file := writeFile(t, "topic: from-file\ngroup: from-file\nbatch_rows: 7\nsites: [shop, blog]\n")
	t.Setenv("FOOTFALL_TOPIC", "from-env")
	t.Setenv("FOOTFALL_GROUP", "from-env")
	c, err := settings(t, "up", "--config", file, "--topic", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	if c.Up.Topic != "from-flag" || c.Up.Group != "from-env" || c.Up.BatchRows != 7 {
		t.Errorf("topic %s, group %s, rows %d", c.Up.Topic, c.Up.Group, c.Up.BatchRows)
	}
	if !slices.Equal(c.Up.Sites, siteList{"shop", "blog"}) {
		t.Errorf("sites %v", c.Up.Sites)
	}
}

func TestNamesAreReadFromTheFile(t *testing.T) {
	clean(t)
	file := writeFile(t, "names: {beacon: in, pixel: i.gif}\nsites:\n  shop:\n    ip: cut\n")
	c, err := settings(t, "up", "--config", file)
	if want := (names{Beacon: "in", Pixel: "i.gif"}); err != nil || c.Up.Names != want {
		t.Errorf("%+v, %v", c.Up.Names, err)
	}
	file = writeFile(t, "names: {beacon: p.gif}\n")
	if _, err := settings(t, "up", "--config", file); err == nil || !strings.Contains(err.Error(), "the name of the pixel already") {
		t.Errorf("a beacon called p.gif: %v", err)
	}
}

func TestDatabaseURLIsReadFromTheUsualVariableToo(t *testing.T) {
	clean(t)
	t.Setenv("DATABASE_URL", "postgres://usual")
	c, err := settings(t, "sink", "--brokers", "k:9092")
	if err != nil || c.Sink.DatabaseURL != "postgres://usual" {
		t.Errorf("%q, %v", c.Sink.DatabaseURL, err)
	}
	t.Setenv("FOOTFALL_DATABASE_URL", "postgres://ours")
	c, err = settings(t, "sink", "--brokers", "k:9092")
	if err != nil || c.Sink.DatabaseURL != "postgres://ours" {
		t.Errorf("%q, %v", c.Sink.DatabaseURL, err)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	clean(t)
	file := writeFile(t, "listem: 1.2.3.4:80\nbatch_rows: none\n")
	t.Setenv("FOOTFALL_SPOOL_MAX_BYTES", "much")
	t.Setenv("FOOTFALL_SPOOL_MAX", "1GiB")
	t.Setenv("FOOTFALL_PORT", "tcp://10.0.0.1:80") // Kubernetes' own
	_, err := settings(t, "up", "--config", file, "--listen", "here", "--trusted-proxies", "10.0.0.0/99",
		"--log-level", "loud", "--brokers", "foo", "--database-url", "bar", "--country-db", "/nope",
		"--kafka-listen", "zork")
	if err == nil {
		t.Fatal("no problem was found")
	}
	for _, want := range []string{"listem is no setting", `"none" is not a whole number`, `"much" is not a size`,
		"FOOTFALL_SPOOL_MAX is no setting", `"here" is not host:port`, `"10.0.0.0/99" is not a network`,
		`"loud" is not debug`, `"foo" is not host:port`, "want a URL like postgres://", "/nope",
		`"zork" is not host:port`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\nin: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "FOOTFALL_PORT") {
		t.Errorf("a variable of Kubernetes is taken for a setting: %v", err)
	}
}

func TestSizesAreRead(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "12B": 12, "3KiB": 3 << 10, "512MiB": 512 << 20,
		"1 GiB": 1 << 30, "2TiB": 2 << 40} {
		if got, err := readSize(text); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "9999999999TiB", "1GB"} {
		if got, err := readSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestExitStatusIsAContract(t *testing.T) {
	clean(t)
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		want int
		args string
	}{
		{exitOK, "version"}, {exitOK, "--help"}, {exitOK, "up --help"},
		{exitUsage, ""}, {exitUsage, "downtown"}, {exitUsage, "up --listen nowhere"},
		{exitUsage, "collector"}, {exitUsage, "sink --brokers 127.0.0.1:1"}, {exitUsage, "site"},
		{exitUsage, "send --collector foo"}, {exitUsage, "send --types zork"},
		{exitProblem, "send"}, {exitProblem, "tail"}, {exitProblem, "doctor"},
		{exitProblem, "doctor --ready --admin http://127.0.0.1:1"},
	} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), strings.Fields(c.args), &out, &errs); got != c.want {
			t.Errorf("footfall %s: status %d, want %d\n%s%s", c.args, got, c.want, &out, &errs)
		}
	}
}

// TestReadmeHasTheSettings keeps README.md's table the one that cli says.
func TestReadmeHasTheSettings(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- settings -->\n", "<!-- end of settings -->"
	_, rest, _ := strings.Cut(string(readme), begin)
	got, _, found := strings.Cut(rest, end)
	if want := settingsTable(t); !found || got != want {
		t.Errorf("README.md's settings differ from the program's; put this between the marks:\n%s", want)
	}
}

func settingsTable(t *testing.T) string {
	parser, err := newParser(&cli{}, &problems{}, io.Discard, io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| setting | default | commands | what it is |\n|---|---|---|---|\n")
	for _, f := range flags(parser.Model) {
		byDefault := ""
		if f.Default != "" {
			byDefault = "`" + f.Default + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s |\n", f.Name, byDefault,
			strings.Join(commandsOf(parser.Model, f), ", "), f.Help)
	}
	return b.String()
}

func commandsOf(model *kong.Application, flag *kong.Flag) (list []string) {
	for _, cmd := range model.Children {
		if slices.ContainsFunc(cmd.Flags, func(f *kong.Flag) bool {
			return f.Name == flag.Name && f.Help == flag.Help
		}) {
			list = append(list, cmd.Name)
		}
	}
	if list == nil {
		return []string{"all"}
	}
	return list
}

// TestEverySettingHasAKind catches a setting of a plain type, whose bad values would
// end the parsing at the first.
func TestEverySettingHasAKind(t *testing.T) {
	parser, err := newParser(&cli{}, &problems{}, io.Discard, io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flags(parser.Model) {
		// What any text and any switch may be needs no kind.
		if kind := f.Target.Type(); !strings.HasPrefix(kind.PkgPath(), "footfall") && kind.PkgPath() != "main" &&
			kind != reflect.TypeFor[string]() && kind != reflect.TypeFor[bool]() {
			t.Errorf("--%s is a plain %s", f.Name, kind)
		}
		if f.Help == "" {
			t.Errorf("--%s has no help", f.Name)
		}
	}
}

// TestReadmeSaysWhatRightsEachCommandNeeds sees that none is left out; sink/postgres tries
// whether it is true.
func TestReadmeSaysWhatRightsEachCommandNeeds(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "| command | needs |")
	table, _, _ := strings.Cut(rest, "\n\n")
	parser, err := newParser(&cli{}, &problems{}, io.Discard, io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		takes := slices.ContainsFunc(slices.Concat(leaf.AllFlags(false)...), func(f *kong.Flag) bool { return f.Name == "database-url" })
		name := strings.Fields(strings.TrimPrefix(leaf.FullPath(), parser.Model.Name+" "))
		if said := strings.Contains(table, "`"+strings.Join(name, " ")); takes != said {
			t.Errorf("footfall %q takes --database-url: %v, README.md says what rights it needs: %v", name, takes, said)
		}
	}
}
