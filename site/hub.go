package site

import (
	"context"
	"errors"
	"sync"
)

const (
	// watchersMax bounds the streams held open at once: a live view is for a team, not a crowd.
	watchersMax = 64
	// backlogMax is how many events a new watcher is shown at once.
	backlogMax = 50
	// bufferMax is how many polls a watcher may be behind, about three seconds at full speed.
	bufferMax = 32
)

var (
	errClosed = errors.New("the live view is stopping")
	errFull   = errors.New("too many watchers")
)

// message is one server-sent message: its name and one line of JSON.
type message struct {
	name string
	data []byte
}

// hub holds the watchers and the newest events. Its generation goes up whenever the events
// start afresh, so that what was read for an earlier one is not mixed in.
type hub struct {
	mu         sync.Mutex
	watchers   map[*watcher]struct{}
	newest     [][]byte // the last backlogMax events, oldest first
	generation uint64
	away       bool
	closed     bool
	wake       chan struct{}
}

// watcher is one open stream. Its batches are read by one goroutine; gone is closed by the hub
// when the watcher was dropped or the hub is closing.
type watcher struct {
	batches chan []message
	gone    chan struct{}
}

func newHub() *hub {
	return &hub{watchers: map[*watcher]struct{}{}, wake: make(chan struct{}, 1)}
}

func (h *hub) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers)
}

// join adds a watcher and returns what it must be shown first.
func (h *hub) join() (*watcher, []message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errClosed
	}
	if len(h.watchers) >= watchersMax {
		return nil, nil, errFull
	}
	w := &watcher{batches: make(chan []message, bufferMax), gone: make(chan struct{})}
	h.watchers[w] = struct{}{}
	first := []message{h.status()}
	for _, data := range h.newest {
		first = append(first, message{"past", data})
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return w, first, nil
}

// leave forgets the watcher. The last one takes the events along: whoever comes after an hour
// wants the newest, not an hour to catch up.
func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
	if len(h.watchers) == 0 {
		h.startAfresh()
	}
}

// startAfresh needs the lock.
func (h *hub) startAfresh() {
	h.generation++
	h.newest = nil
}

// waitForWatcher returns true once somebody watches and false when ctx has ended.
func (h *hub) waitForWatcher(ctx context.Context) bool {
	for ctx.Err() == nil {
		if h.len() > 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-h.wake:
		}
	}
	return false
}

func (h *hub) current() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// publish hands events to all watchers under the given name and returns how many watchers were
// dropped because they were too far behind. Events of an earlier generation are ignored.
func (h *hub) publish(generation uint64, name string, events [][]byte) (dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if generation != h.generation || len(events) == 0 {
		return 0
	}
	h.newest = append(h.newest, events...)
	if n := len(h.newest) - backlogMax; n > 0 {
		h.newest = append([][]byte(nil), h.newest[n:]...)
	}
	batch := make([]message, len(events))
	for i, data := range events {
		batch[i] = message{name, data}
	}
	return h.send(batch)
}

// setAway tells the watchers when the database went or came back, and whether that was news.
func (h *hub) setAway(away bool) (news bool, dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away == away {
		return false, 0
	}
	h.away = away
	return true, h.send([]message{h.status()})
}

// jump starts afresh for everybody and says so: the events between are not shown.
func (h *hub) jump() (dropped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.startAfresh()
	return h.send([]message{{"jump", []byte(`{}`)}})
}

// status needs the lock.
func (h *hub) status() message {
	if h.away {
		return message{"status", []byte(`{"database":"away"}`)}
	}
	return message{"status", []byte(`{"database":"here"}`)}
}

// send needs the lock. It never blocks: a full buffer ends its watcher.
func (h *hub) send(batch []message) (dropped int) {
	for w := range h.watchers {
		select {
		case w.batches <- batch:
		default:
			delete(h.watchers, w)
			close(w.gone)
			dropped++
		}
	}
	return dropped
}

// close ends every stream and refuses new ones.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		delete(h.watchers, w)
		close(w.gone)
	}
}
