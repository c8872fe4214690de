package consume

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// mute is a store that tells no positions while it is away.
type mute struct {
	*memory
	away atomic.Bool
}

func (m *mute) Positions(ctx context.Context, cluster, topic string, id [16]byte, starts map[int32]int64) (
	map[int32]int64, error) {
	if m.away.Load() {
		return nil, errors.New("nobody answers")
	}
	return m.memory.Positions(ctx, cluster, topic, id, starts)
}

func TestAnIdleConsumerIsNotReadyWhileItsStoreIsAway(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), &mute{memory: newMemory()}
	c, _ := start(t, b.options(), m)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	m.away.Store(true)
	eventually(t, "not ready", stoppedBy(c, "positions are not looked at: nobody answers"))
	m.away.Store(false)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}
