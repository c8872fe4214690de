package consume

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuseJoin answers who wants to join a group with an error, while the returned one is
// true. The rest of the cluster goes on.
func (b *broker) refuseJoin(code int16) *atomic.Bool {
	refused := &atomic.Bool{}
	refused.Store(true)
	b.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		if !refused.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = code
		return resp, nil, true
	})
	return refused
}

// looks asks so often, longer than the monitor takes to look at Kafka twice, whether the
// consumer is ready, and returns how often it was.
func looks(c *Consumer) (ready int) {
	for range int(2*monitorEvery/(50*time.Millisecond)) + 10 {
		if c.Ready() == nil {
			ready++
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ready
}

func TestConsumerIsNotReadyWhileItMayNotJoin(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 10)
	refused := b.refuseJoin(kerr.GroupAuthorizationFailed.Code)
	c, _ := start(t, b.options(), m)
	eventually(t, "the missing right is named", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(),
			"group footfall-sink is not joined: the user of this sink has no ACL that allows READ on group footfall-sink")
	})
	if n := looks(c); n > 0 {
		t.Errorf("it was ready %d times outside of its group", n)
	}
	refused.Store(false)
	wantValues(t, m, 0, 0, 10)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}

func TestConsumerThatFallsOutOfItsGroupIsNotReadyUntilItIsBack(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	c, _ := start(t, b.options(), m)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	b.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil, true
	})
	refused := b.refuseJoin(kerr.GroupAuthorizationFailed.Code)
	eventually(t, "not ready", stoppedBy(c, "is not joined"))
	if n := looks(c); n > 0 {
		t.Errorf("it was ready %d times outside of its group", n)
	}
	refused.Store(false)
	eventually(t, "ready without a record", func() bool { return c.Ready() == nil })
}

// TestAConsumerWithoutAPartitionIsReady: there are more consumers than partitions.
func TestAConsumerWithoutAPartitionIsReady(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t, kfake.SeedTopics(1, "narrow")), newMemory()
	o := b.options()
	o.Topic = "narrow"
	first, _ := start(t, o, m)
	second, _ := start(t, o, m)
	eventually(t, "both are ready", func() bool { return first.Ready() == nil && second.Ready() == nil })
}
