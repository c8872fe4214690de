package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"footfall/collector/sites"
)

// secretCmd makes what a server shows to the server API.
type secretCmd struct{}

// Run prints a secret, which is kept nowhere, and its hash for footfall.yaml.
func (secretCmd) Run(_ context.Context, p *program) error {
	secret, hash := sites.NewSecret()
	_, err := fmt.Fprintf(p.out, `Give this to the server; it is shown only now:

    %s

and this to the collector's footfall.yaml (two at a time let you change them in peace):

    sites:
      NAME:
        secrets: ["%s"]
`, secret, hash)
	return err
}

// readRules returns what the sites of a settings file want; nil when it names them at
// most, or is not there.
func readRules(file string) (*sites.List, error) {
	b, err := readFileOf(file)
	if b == nil || err != nil {
		return nil, err
	}
	list, err := sites.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read sites of %s: %w", cmp.Or(file, defaultFile), err)
	}
	return list, nil
}

// originOf returns an origin whose pages may send events of a site, as far as this
// machine's settings file knows; "" when it says nothing.
func originOf(p *program, site string) (string, error) {
	rules, err := readRules(p.settings)
	if rules == nil || err != nil || rules.Get(site) == nil {
		return "", err
	}
	for _, host := range rules.Get(site).Hostnames {
		if host != "null" {
			return "https://" + strings.Replace(host, "*", "www", 1), nil
		}
	}
	return "", nil
}

// source tells where the sites come from.
func (c *collectorFlags) source(p *program) (*sites.Source, error) {
	rules, err := readRules(p.settings)
	if err != nil {
		return nil, err
	}
	if rules == nil {
		return sites.Named(c.Sites...), nil
	}
	file := cmp.Or(p.settings, defaultFile)
	if names := rules.Names(); !slices.Equal(names, c.Sites) {
		return nil, fmt.Errorf("sites stand twice: %s says what %v want, and --sites (or "+
			"FOOTFALL_SITES) names %v: leave one of them out", file, names, c.Sites)
	}
	return sites.OpenFile(file, p.log.With("room", "sites"))
}
