package intake

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// burst is how much of its rate a sender may use at once: ten seconds' worth.
const burst = 10 * time.Second

// debt is a token bucket in one number: the moment (nanoseconds since started) at which
// all that was taken is paid for. It may lie up to burst ahead.
type debt int64

// started is where debts count from, well before any of them. It is not a date: a wall
// clock that is set back would keep everybody waiting for as long; the monotonic one,
// which Sub takes, never goes back.
var started = time.Now().Add(-30 * 365 * 24 * time.Hour)

// over returns how long to wait until more may be taken, 0 for not at all.
func (d debt) over(now time.Time) time.Duration {
	return max(0, time.Duration(d)-now.Sub(started)-burst)
}

// with returns the debt after n more events at a rate.
func (d debt) with(now time.Time, n int, rate float64) debt {
	return max(d, debt(now.Sub(started))) + debt(float64(n)/rate*float64(time.Second))
}

// The table of addresses: 1 MiB, whoever comes. 65,536 addresses are told apart.
const (
	limiterSets  = 1 << 13
	limiterWays  = 8
	limiterLocks = 64
)

// limiter holds the debts of addresses in fixed memory. When more come than it has
// room for, the one that owes least is forgotten: that is lenient, and never hits
// somebody else. It is safe for concurrent use.
type limiter struct {
	rate  float64 // events a second; 0 for no limit
	seed  maphash.Seed
	locks [limiterLocks]sync.Mutex
	sets  [][limiterWays]slot
}

type slot struct {
	key uint64
	debt
}

func newLimiter(rate float64) *limiter {
	l := &limiter{rate: rate, seed: maphash.MakeSeed()}
	if rate > 0 {
		l.sets = make([][limiterWays]slot, limiterSets)
	}
	return l
}

// over returns how long an address has to wait.
func (l *limiter) over(a netip.Addr, now time.Time) (wait time.Duration) {
	l.visit(a, func(s *slot) { wait = s.over(now) })
	return wait
}

// take adds n events to what an address owes.
func (l *limiter) take(a netip.Addr, now time.Time, n int) {
	l.visit(a, func(s *slot) { s.debt = s.with(now, n, l.rate) })
}

// takeSecond adds a whole second's worth, for what nobody does by mistake often: ten at
// once, then one a second.
func (l *limiter) takeSecond(a netip.Addr, now time.Time) {
	l.take(a, now, max(1, int(l.rate)))
}

func (l *limiter) visit(a netip.Addr, do func(*slot)) {
	if l.rate == 0 || !limited(a) {
		return
	}
	key := maphash.Comparable(l.seed, sender(a))
	i := key % limiterSets
	lock := &l.locks[i%limiterLocks]
	lock.Lock()
	defer lock.Unlock()
	set := &l.sets[i]
	least := &set[0]
	for w := range set {
		s := &set[w]
		if s.key == key {
			do(s)
			return
		}
		if s.debt < least.debt {
			least = s
		}
	}
	*least = slot{key: key}
	do(least)
}

// sender is who counts as one: a /64 belongs to one household.
func sender(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		panic(err) // 64 and 32 fit every address
	}
	return p
}

// limited leaves out private addresses. Behind a proxy that nobody named as trusted
// every visitor has the proxy's address: one limit for all of them would be an outage.
func limited(a netip.Addr) bool {
	return a.IsValid() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}
