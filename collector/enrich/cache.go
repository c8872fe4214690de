package enrich

import (
	"strings"
	"sync"
)

// agentsMax is how many user agents one generation of the cache holds. A site sees
// a few thousand in a day; a sender that makes up new ones costs at most two
// generations of memory, 30 MB.
const agentsMax = 16 << 10

// agentCache remembers parsed user agents in two generations: when the young one
// is full it becomes the old one, and what was not asked for since is forgotten.
// Safe for concurrent use.
type agentCache struct {
	mu         sync.RWMutex
	young, old map[string]*agent
	max        int
}

func newAgentCache(max int) *agentCache {
	return &agentCache{young: make(map[string]*agent), max: max}
}

// get returns the parsed agent, parsing it when it is new. The result is shared
// and must not be changed. It refers to a copy of text, which is the request's.
func (c *agentCache) get(text string) *agent {
	c.mu.RLock()
	a, ok := c.young[text]
	if !ok {
		a = c.old[text]
	}
	c.mu.RUnlock()
	if ok {
		return a
	}
	text = strings.Clone(text)
	if a == nil {
		a = parseAgent(text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.max {
		c.young, c.old = make(map[string]*agent, c.max), c.young
	}
	c.young[text] = a
	return a
}
