package sites

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Key is the key of footfall.yaml that the sites stand under.
const Key = "sites"

const (
	nameBytesMax = 64
	rateMax      = 1e6
	sitesMax     = 10_000
)

// Parse reads the mapping of sites out of a footfall.yaml:
//
//	sites:
//	  shop:
//	    hostnames: [shop.example, "*.shop.example"]
//	  blog: {}
//
// The error names every problem, each with its line. A file whose sites are no mapping
// (they can also be a list of names, as in the setting --sites) has a nil List.
func Parse(file []byte) (*List, error) {
	node, err := find(file)
	if node == nil || err != nil {
		return nil, err
	}
	var problems []error
	var all []*Site
	seen := map[digest]string{}
	for _, entry := range node.Values {
		s, errs := parseSite(entry)
		problems = append(problems, errs...)
		for _, d := range s.secrets {
			if other, ok := seen[d]; ok {
				problems = append(problems, at(entry, "%s has a secret of %s: each needs its own",
					s.Name, other))
			}
			seen[d] = s.Name
		}
		all = append(all, s)
	}
	if len(all) == 0 || len(all) > sitesMax {
		problems = append(problems, at(node, "%d sites, want 1 to %d", len(all), sitesMax))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return newList(all), nil
}

// find returns the mapping, nil when there is none.
func find(file []byte) (*ast.MappingNode, error) {
	f, err := parser.ParseBytes(file, 0)
	if err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	for _, doc := range f.Docs {
		root, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			continue
		}
		for _, entry := range root.Values {
			if keyOf(entry) != Key {
				continue
			}
			if node, ok := entry.Value.(*ast.MappingNode); ok {
				return node, nil
			}
		}
	}
	return nil, nil
}

// keyOf is a key without the quotes that it may stand in, as all do in JSON.
func keyOf(entry *ast.MappingValueNode) string { return entry.Key.GetToken().Value }

func at(n ast.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", n.GetToken().Position.Line, fmt.Errorf(format, args...))
}

func parseSite(entry *ast.MappingValueNode) (*Site, []error) {
	var name string
	if err := yaml.NodeToValue(entry.Key, &name); err != nil || !goodName(name) {
		return Default(""), []error{at(entry.Key, "%s is no name of a site: 1 to %d letters, "+
			"digits, dots, dashes and underscores", entry.Key, nameBytesMax)}
	}
	s := Default(name)
	var values []*ast.MappingValueNode
	switch v := entry.Value.(type) {
	case *ast.MappingNode:
		values = v.Values
	case *ast.NullNode:
	default:
		return s, []error{at(entry.Key, "%s has to be a mapping like {hostnames: [shop.example]}", name)}
	}
	var problems []error
	for _, v := range values {
		key := keyOf(v)
		set := keys[key]
		if set == nil {
			problems = append(problems, at(v.Key, "%s.%s is no setting of a site; there are %s",
				name, key, keyNames()))
			continue
		}
		if err := set(s, v.Value); err != nil {
			problems = append(problems, at(v.Key, "%s.%s %w", name, key, err))
		}
	}
	return s, problems
}

func goodName(s string) bool {
	for _, c := range s {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-._", c) {
			return false
		}
	}
	return s != "" && len(s) <= nameBytesMax
}

// keys are the settings of one site. Each says after its own name what it wants.
var keys = map[string]func(*Site, ast.Node) error{
	"hostnames": func(s *Site, n ast.Node) (err error) { s.Hostnames, err = hostnames(n); return err },
	"ip":        func(s *Site, n ast.Node) error { return oneOf(&s.IP, n, IPNone, IPCut, IPFull) },
	"query":     func(s *Site, n ast.Node) (err error) { s.Query, err = texts(n); return err },
	"gpc":       func(s *Site, n ast.Node) error { return boolean(&s.GPC, n) },
	"dnt":       func(s *Site, n ast.Node) error { return boolean(&s.DNT, n) },
	"bots":      func(s *Site, n ast.Node) error { return oneOf(&s.Bots, n, BotsFlag, BotsRefuse) },
	"snippet": func(s *Site, n ast.Node) error {
		if err := yaml.NodeToValue(n, &s.Snippet); err != nil {
			return errors.New("has to be a mapping of rules to true or false, like {hash: true}")
		}
		for name := range s.Snippet {
			if !slices.Contains(SnippetRules, name) {
				return fmt.Errorf("has %q, which is no counting rule; there are %s", name,
					strings.Join(SnippetRules, ", "))
			}
		}
		return nil
	},
	"rate": func(s *Site, n ast.Node) error {
		if err := yaml.NodeToValue(n, &s.Rate); err != nil || !(s.Rate > 0 && s.Rate <= rateMax) {
			return errors.New("has to be a number of events a second, above 0")
		}
		return nil
	},
	"retention": func(s *Site, n ast.Node) (err error) {
		var text string
		if err := yaml.NodeToValue(n, &text); err != nil {
			return errors.New(notRetention)
		}
		s.Retention, err = ParseRetention(text)
		return err
	},
	"secrets": func(s *Site, n ast.Node) error {
		list, err := texts(n)
		for i, text := range list {
			d, err := parseHash(text)
			if err != nil {
				return fmt.Errorf("[%d] %w", i, err)
			}
			s.secrets = append(s.secrets, d)
		}
		return err
	},
}

const notRetention = "is not a duration like 90d, 24h or 0s"

// ParseRetention reads how long something is kept: whole days like 90d, or a duration as
// Go writes it, from 0.
func ParseRetention(s string) (time.Duration, error) {
	const day, most = 24 * time.Hour, 100_000
	if number, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n > most {
			return 0, errors.New(notRetention)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New(notRetention)
	}
	return d, nil
}

func keyNames() string {
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func texts(n ast.Node) (list []string, err error) {
	if err := yaml.NodeToValue(n, &list); err != nil {
		return nil, errors.New("has to be a list of texts")
	}
	return list, nil
}

func hostnames(n ast.Node) ([]string, error) {
	list, err := texts(n)
	if err == nil && len(list) == 0 {
		err = errors.New("is empty: leave it out to take every hostname")
	}
	for i, h := range list {
		h = strings.ToLower(h)
		if bare := strings.TrimPrefix(h, "*."); !goodName(bare) || len(h) > 255 {
			return nil, fmt.Errorf("has %q, which is no hostname like shop.example or *.shop.example "+
				"(no scheme, no port, no path)", h)
		}
		list[i] = h
	}
	return list, err
}

func oneOf(p *string, n ast.Node, words ...string) error {
	var word string
	if err := yaml.NodeToValue(n, &word); err != nil || !slices.Contains(words, word) {
		return fmt.Errorf("has to be one of %s", strings.Join(words, ", "))
	}
	*p = word
	return nil
}

func boolean(p *bool, n ast.Node) error {
	if err := yaml.NodeToValue(n, p); err != nil {
		return errors.New("has to be true or false")
	}
	return nil
}
