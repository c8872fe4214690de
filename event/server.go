package event

import (
	"bytes"
	"fmt"

	"github.com/valyala/fastjson"
)

// Server reads what a server sends under its site's secret: one event, an array of
// them, or an envelope as Envelope reads it; with lines, one event a line. Beyond what
// a browser may set it takes ip, user_agent and any occurred_at (CheckTime), and
// events may name their site, which the caller has to check.
func (d *Decoder) Server(body []byte, lines bool) (*Envelope, *Refusal) {
	if lines {
		return d.lines(body)
	}
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	root, err := p.ParseBytes(body)
	if err != nil {
		return nil, refuse(BadJSON, "body is not JSON: "+firstLine(err.Error()))
	}
	env := d.envelope(len(body))
	env.common.trusted = true
	if root.Type() == fastjson.TypeArray {
		return env, env.fill(root)
	}
	return env.read(root)
}

// lines reads one event a line. A line that is no JSON is that event's refusal only.
func (d *Decoder) lines(body []byte) (*Envelope, *Refusal) {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	env := d.envelope(len(body))
	seen := map[UUID]bool{}
	n := 0
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if n == EventsMax {
			return nil, refuse(TooManyEvents, fmt.Sprintf("more than %d lines", EventsMax))
		}
		e := Event{trusted: true, text: &env.text}
		v, err := p.ParseBytes(line)
		var r *Refusal
		if err != nil {
			r = refuse(BadEvent, "line is not JSON: "+firstLine(err.Error()))
		} else if r = e.decodeClient(v); r == nil && seen[e.EventID] {
			r = refuse(BadEventID, "event_id is that of an earlier line")
		}
		if r != nil {
			r.Index = n
			env.Refused = append(env.Refused, *r)
		} else {
			seen[e.EventID] = !e.EventID.IsZero()
			env.Events, env.Indexes = append(env.Events, e), append(env.Indexes, n)
		}
		n++
	}
	if n == 0 {
		return nil, refuse(NoEvents, "body is empty: send at least one line")
	}
	return env, nil
}
