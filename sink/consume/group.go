package consume

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var errJoining = errors.New("no answer yet")

// OnGroupManageError is told why the client is not in the group; it is a hook of kgo. The
// client joins again by itself. It is told in step with joined and assigned, which what a
// poll returns is not: that can come after the client has joined again.
func (s *session) OnGroupManageError(err error) {
	<-s.ready
	err = s.explain(err)
	s.note(&s.group, err)
	s.o.Logger.Warn("group is not joined", "group", s.o.Group, "err", err)
}

// explain adds to an error of joining what a person can do, where that is known.
func (s *session) explain(err error) error {
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return fmt.Errorf("the user of this sink has no ACL that allows READ on group %s: %w", s.o.Group, err)
	}
	return s.client.Explain(err)
}

// joined is told that the client is in the group, and which partitions have become ours.
// Only where none has is that all; else assigned has to find out where they begin.
func (s *session) joined(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
	if len(topics[s.o.Topic]) == 0 {
		s.note(&s.group, nil)
	}
}
