package sites

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Source is where the sites come from: names given once, or a footfall.yaml that is
// read again when it changes. Its methods are safe for concurrent use.
type Source struct {
	path string // "" for names given once
	log  *slog.Logger
	read []byte // what the list, or the error, came from
	seen []byte // at the last look, when it was something else
	list atomic.Pointer[List]
	err  atomic.Pointer[error]
}

// OpenFile reads the sites of a file that has some; Run keeps them up to date.
func OpenFile(path string, log *slog.Logger) (*Source, error) {
	s := &Source{path: path, log: log}
	if s.reload(); s.Err() != nil {
		return nil, s.Err()
	}
	return s, nil
}

// Named returns sites with the defaults that stay as they are.
func Named(names ...string) *Source {
	all := make([]*Site, len(names))
	for i, name := range names {
		all[i] = Default(name)
	}
	s := &Source{}
	s.list.Store(newList(all))
	return s
}

// Current returns the sites of now.
func (s *Source) Current() *List { return s.list.Load() }

// Err says why the file as it is now is not in force, or returns nil.
func (s *Source) Err() error {
	if p := s.err.Load(); p != nil {
		return *p
	}
	return nil
}

// every is how often the file is looked at. It is read whole each time: what tells a
// changed file by its date misses the symlinks by which Kubernetes swaps one.
const every = time.Second

// Run looks for changes until ctx ends.
func (s *Source) Run(ctx context.Context) {
	if s.path == "" {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.reload()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Source) reload() {
	b, err := os.ReadFile(s.path)
	if err == nil && s.read != nil && bytes.Equal(b, s.read) {
		return
	}
	if s.Current() != nil && !bytes.Equal(b, s.seen) {
		s.seen = b // it may be half written: a change counts when it has stood for one look
		return
	}
	s.read = b // nil when it could not be read: the same file may come back
	var list *List
	if err == nil {
		if list, err = Parse(b); err == nil && list == nil {
			err = fmt.Errorf("there is no mapping %q", Key)
		}
	}
	if err != nil {
		err = fmt.Errorf("read sites of %s: %w", s.path, err)
		if old := s.Err(); s.Current() != nil && (old == nil || old.Error() != err.Error()) {
			s.log.Error("kept the sites of before", slog.Any("err", err))
		}
		s.err.Store(&err)
		return
	}
	if s.Current() != nil {
		s.log.Info("sites are read again", slog.Any("sites", list.Names()))
	}
	s.list.Store(list)
	s.err.Store(nil)
}
