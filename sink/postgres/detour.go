package postgres

import "sync"

// detourFor is for how many batches without a duplicate the next ones still look for some.
const detourFor = 16

// detour is the path that batches begin with for a while: where one duplicate came, more
// follow, and each would cost a COPY in vain. The zero value is none. It is safe for
// concurrent use.
type detour struct {
	mu   sync.Mutex
	by   path
	left int // batches
}

func (d *detour) path() path {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return direct
	}
	return d.by
}

// begin lets the next batches go by the path.
func (d *detour) begin(by path) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.by, d.left = by, detourFor
}

// learn takes in how a batch was stored: whether duplicates are about, or a trigger that
// leaves rows out, which only the staging table tells from them.
func (d *detour) learn(w *work) {
	switch {
	case w.path == direct:
	case w.leftOut > 0:
		d.begin(staged)
	case w.duplicates() > 0:
		d.begin(sifted)
	default:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.left = max(0, d.left-1)
	}
}
