package main

import (
	"io"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	composecli "github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// composeProject reads compose.yaml as an empty environment leaves it, with the
// services of all profiles.
func composeProject(t *testing.T) *types.Project {
	t.Helper()
	options, err := composecli.NewProjectOptions([]string{"compose.yaml"},
		composecli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// ourServices are those that run the image built here.
func ourServices(t *testing.T, p *types.Project) map[string]types.ServiceConfig {
	t.Helper()
	ours := map[string]types.ServiceConfig{}
	for name, s := range p.Services {
		if s.Image == "footfall:local" {
			ours[name] = s
		}
	}
	if len(ours) != 3 {
		t.Fatalf("%d services run our image, want collector, sink and site", len(ours))
	}
	return ours
}

// environment returns a service's variables; those without a value are empty.
func environment(s types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		env[name] = ""
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

func TestComposeGivesEachCommandOnlySettingsThatItTakes(t *testing.T) {
	t.Parallel()
	var p problems
	parser, err := newParser(&cli{}, &p, io.Discard, io.Discard, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range ourServices(t, composeProject(t)) {
		args := slices.Clone([]string(s.Command))
		for variable, value := range environment(s) {
			if !strings.HasPrefix(variable, "FOOTFALL_") {
				continue
			}
			i := slices.IndexFunc(flags(parser.Model), func(f *kong.Flag) bool {
				return slices.Contains(f.Envs, variable)
			})
			if i < 0 {
				t.Errorf("%s: %s is no setting", name, variable)
				continue
			}
			args = append(args, "--"+flags(parser.Model)[i].Name+"="+value)
		}
		if _, err := parse(args, io.Discard, io.Discard); err != nil {
			t.Errorf("%s: footfall %s: %v", name, strings.Join(args, " "), err)
		}
	}
}

func TestComposeConfinesEveryService(t *testing.T) {
	t.Parallel()
	p := composeProject(t)
	for name, s := range p.Services {
		for want, ok := range map[string]bool{
			"a health check":         s.HealthCheck != nil && len(s.HealthCheck.Test) > 1,
			"restart":                s.Restart == types.RestartPolicyUnlessStopped,
			"a read-only root":       s.ReadOnly,
			"no capabilities":        slices.Equal(s.CapDrop, []string{"ALL"}),
			"no new privileges":      slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
			"a bound of memory":      s.MemLimit > 0,
			"a bound of processes":   s.PidsLimit > 0,
			"a bound of its log":     s.Logging != nil && s.Logging.Options["max-size"] != "",
			"an image with a minor":  s.Image == "footfall:local" || pinned.MatchString(s.Image),
			"ports of this machine":  !slices.ContainsFunc(s.Ports, public),
			"no network of the host": s.NetworkMode == "" && !s.Privileged,
		} {
			if !ok {
				t.Errorf("%s: want %s", name, want)
			}
		}
		for _, v := range s.Volumes {
			_, known := p.Volumes[v.Source]
			if v.Type == types.VolumeTypeVolume && !known {
				t.Errorf("%s: volume %q is not declared", name, v.Source)
			}
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && (err != nil || !v.ReadOnly) {
				t.Errorf("%s: %s is not there, or mounted writable: %v", name, v.Source, err)
			}
		}
	}
}

// pinned is a tag that names a minor version at least.
var pinned = regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$`)

func public(p types.ServicePortConfig) bool {
	a, err := netip.ParseAddr(p.HostIP)
	return err != nil || !a.IsLoopback()
}

func TestComposeRunsOurImageAsItsUser(t *testing.T) {
	t.Parallel()
	dockerfile := readText(t, "Dockerfile")
	for name, s := range ourServices(t, composeProject(t)) {
		if s.User != "65532:65532" || !strings.Contains(dockerfile, "\nUSER "+s.User+"\n") {
			t.Errorf("%s runs as %q, which is not the Dockerfile's user", name, s.User)
		}
		if len(s.CapAdd) > 0 || len(s.Entrypoint) > 0 {
			t.Errorf("%s: capabilities %v, entrypoint %v, want the image's", name, s.CapAdd, s.Entrypoint)
		}
		check := s.HealthCheck.Test
		if len(check) < 3 || check[0] != "CMD" || check[1] != "/footfall" {
			t.Errorf("%s: health check %q does not run the binary", name, check)
			continue
		}
		if _, err := parse(check[2:], io.Discard, io.Discard); err != nil {
			t.Errorf("%s: health check: %v", name, err)
		}
	}
}

func TestComposeAddressesLeadToItsServices(t *testing.T) {
	t.Parallel()
	p := composeProject(t)
	var addresses []string // host:port, each of a service
	for _, s := range ourServices(t, p) {
		env := environment(s)
		if brokers := env["FOOTFALL_BROKERS"]; brokers != "" {
			addresses = append(addresses, strings.Split(brokers, ",")...)
		}
		if dsn := env["FOOTFALL_DATABASE_URL"]; dsn != "" {
			addresses = append(addresses, databaseHost(t, dsn))
		}
		for _, port := range s.Ports {
			listen := env["FOOTFALL_LISTEN"] + env["FOOTFALL_SITE_LISTEN"]
			if want := "0.0.0.0:" + strconv.Itoa(int(port.Target)); listen != want {
				t.Errorf("%s listens on %s, but %s is published", s.Name, listen, want)
			}
		}
	}
	advertised := environment(p.Services["kafka"])["KAFKA_ADVERTISED_LISTENERS"]
	addresses = append(addresses, strings.TrimPrefix(advertised, "PLAINTEXT://"),
		environment(p.Services["grafana"])["GRAFANA_DB_HOST"],
		proxied.FindStringSubmatch(readText(t, "scripts/compose/Caddyfile"))[1])
	want := []string{"collector:8080", "kafka:9092", "postgres:5432"}
	slices.Sort(addresses)
	if got := slices.Compact(addresses); !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	for _, address := range want {
		name, _, _ := strings.Cut(address, ":")
		if _, ok := p.Services[name]; !ok {
			t.Errorf("%s leads to no service", address)
		}
	}
}

var proxied = regexp.MustCompile(`reverse_proxy (\S+)`)

func databaseHost(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// The collector believes X-Forwarded-For from caddy and from nobody else.
func TestComposeTrustsOnlyItsProxy(t *testing.T) {
	t.Parallel()
	p := composeProject(t)
	caddy := p.Services["caddy"].Networks["front"]
	trusted := environment(p.Services["collector"])["FOOTFALL_TRUSTED_PROXIES"]
	if trusted != caddy.Ipv4Address+"/32" {
		t.Errorf("trusted is %s, caddy is at %s", trusted, caddy.Ipv4Address)
	}
}

// Grafana's variables are not ours: the files that it is provisioned with name them.
func TestComposeGivesGrafanaWhatItsFilesName(t *testing.T) {
	t.Parallel()
	files := readText(t, "site/grafana/provisioning/datasources/footfall.yaml")
	named := regexp.MustCompile(`FOOTFALL_\w+`).FindAllString(files, -1)
	var given []string
	for name := range environment(composeProject(t).Services["grafana"]) {
		if strings.HasPrefix(name, "FOOTFALL_") {
			given = append(given, name)
		}
	}
	slices.Sort(named)
	slices.Sort(given)
	if named = slices.Compact(named); !slices.Equal(given, named) {
		t.Errorf("given %q, named %q", given, named)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
