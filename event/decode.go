package event

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fastjson"
)

// Limits of what one request may carry.
const (
	EventsMax     = 500      // events of one envelope
	EventKeysMax  = 128      // keys of one event or envelope, known or not
	EventBytesMax = 64 << 10 // one encoded record; Kafka's default message limit is 1 MB
)

// Envelope is what one beacon carries: events that were accepted by the decoder,
// not yet stamped or enriched, and refusals of the others.
type Envelope struct {
	Site    string
	Sent    time.Time // the sender's clock when it sent; zero when it did not say
	Events  []Event
	Indexes []int // of each event, its place among those sent
	Refused []Refusal

	common Event // fields that stand beside the events
	text   text
}

// Decoder turns bytes into events. The zero value is ready; it is safe for
// concurrent use and nothing it returns refers to the bytes it was given.
type Decoder struct {
	parsers   fastjson.ParserPool
	envelopes sync.Pool
}

// derived is what enriching adds to the texts of a request, about.
const derived = 512

// envelope returns an empty envelope with room for the texts of so many bytes.
func (d *Decoder) envelope(bytes int) *Envelope {
	env, ok := d.envelopes.Get().(*Envelope)
	if !ok {
		env = &Envelope{}
	}
	if cap(env.text.b) < bytes+derived {
		env.text.b = make([]byte, 0, bytes+derived)
	}
	env.common.text = &env.text
	return env
}

// Release lets the decoder use an envelope again. Neither its events nor their texts must
// be used after that: whoever keeps one copies it. Without a Release it is garbage like any
// other.
func (d *Decoder) Release(env *Envelope) {
	// More would keep the memory of one large request for ever.
	const events, texts = 64, 16 << 10
	if cap(env.Events) > events {
		env.Events, env.Indexes = nil, nil
	}
	spoil(env.text.b)
	if cap(env.text.b) > texts {
		env.text.b = nil
	}
	clear(env.Events[:cap(env.Events)])
	*env = Envelope{Events: env.Events[:0], Indexes: env.Indexes[:0], text: text{env.text.b[:0]}}
	d.envelopes.Put(env)
}

// Envelope reads a beacon's body: an object with "site" and "events", whose other
// fields hold for every event that does not say otherwise, or one bare event with
// "site" in it. It refuses the whole with bad_json, bad_field, too_many_keys,
// no_events or too_many_events; a single bad event lands in Refused.
func (d *Decoder) Envelope(body []byte) (*Envelope, *Refusal) {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	root, err := p.ParseBytes(body)
	if err != nil {
		return nil, refuse(BadJSON, "body is not JSON: "+firstLine(err.Error()))
	}
	env := d.envelope(len(body))
	return env.read(root)
}

// read reads an object whose fields are common to its events.
func (env *Envelope) read(root *fastjson.Value) (*Envelope, *Refusal) {
	o, err := root.Object()
	if err != nil {
		return nil, refuse(BadJSON, `body has to be an object like {"site":"…","events":[…]}`)
	}
	common := &env.common
	var events *fastjson.Value
	r := visit(o, func(key string, v *fastjson.Value) *Refusal {
		switch key {
		case "events":
			events = v
			return nil
		case "sent_at":
			return env.setSent(v)
		}
		return common.setClientField(key, v)
	})
	if r != nil {
		return nil, r
	}
	env.Site = common.Site
	if events != nil && !common.EventID.IsZero() {
		return nil, refuse(BadEventID, "event_id belongs into each event, not beside events")
	}
	if events == nil {
		common.finish()
		if r := common.check(); r != nil {
			return nil, r
		}
		env.add()
		env.Indexes = append(env.Indexes, 0)
		return env, nil
	}
	return env, env.fill(events)
}

// add appends a copy of the common fields. An append would make another one on the stack,
// which holds some thousand connections' worth of them.
func (env *Envelope) add() *Event {
	n := len(env.Events)
	env.Events = slices.Grow(env.Events, 1)[:n+1]
	env.Events[n] = env.common
	return &env.Events[n]
}

func (env *Envelope) fill(events *fastjson.Value) *Refusal {
	list, err := events.Array()
	switch {
	case err != nil:
		return refuse(BadJSON, `"events" has to be an array of objects`)
	case len(list) == 0:
		return refuse(NoEvents, `"events" is empty: send at least one`)
	case len(list) > EventsMax:
		return refuse(TooManyEvents, fmt.Sprintf("%d events in one envelope, at most %d fit",
			len(list), EventsMax))
	}
	var seen map[UUID]bool
	if len(list) > 1 {
		seen = make(map[UUID]bool, len(list))
	}
	env.Events, env.Indexes = slices.Grow(env.Events, len(list)), slices.Grow(env.Indexes, len(list))
	for i, v := range list {
		e := env.add()
		r := e.decodeClient(v)
		if r == nil && seen[e.EventID] {
			r = refuse(BadEventID, "event_id is that of an earlier event of the envelope")
		}
		if r != nil {
			r.Index = i
			env.Refused = append(env.Refused, *r)
			env.Events = env.Events[:len(env.Events)-1]
			continue
		}
		if seen != nil {
			seen[e.EventID] = !e.EventID.IsZero()
		}
		if !e.trusted {
			e.Site = env.common.Site // an event cannot choose another site than its envelope
		}
		env.Indexes = append(env.Indexes, i)
	}
	return nil
}

func (env *Envelope) setSent(v *fastjson.Value) *Refusal {
	if v.Type() == fastjson.TypeNull {
		return nil
	}
	if expected := setTime(&env.Sent, view(v.MarshalTo(env.text.room()))); expected != "" {
		return refuse(BadField, "sent_at has to be "+expected)
	}
	return nil
}

func (e *Event) decodeClient(v *fastjson.Value) *Refusal {
	o, err := v.Object()
	if err != nil {
		return refuse(BadEvent, "an event has to be an object")
	}
	if r := visit(o, e.setClientField); r != nil {
		return r
	}
	e.finish()
	return e.check()
}

// setClientField sets what a sender may set. Fields that only the collector or the
// sink set, and names that nobody knows, are left out and counted: an old collector
// must take a newer snippet's events.
func (e *Event) setClientField(key string, v *fastjson.Value) *Refusal {
	f := fieldOf(key)
	if key == "webdriver" {
		e.setWebdriver(v.Type() == fastjson.TypeTrue)
		return nil
	}
	if f == nil || !f.Client && key != "site" && !(f.Server && e.trusted) {
		e.Sanitised++
		return nil
	}
	return f.setJSON(e, v)
}

// setWebdriver notes that the browser says a program drives it. Enriching may know
// more reasons.
func (e *Event) setWebdriver(driven bool) {
	if driven {
		e.Bot, e.BotReasons = true, []string{"webdriver"}
	}
}

// Record reads a record from Kafka, as AppendJSON wrote it. Whatever is not such a
// record is refused as undecodable and belongs among the dead letters.
func (d *Decoder) Record(value []byte) (*Event, *Refusal) {
	e := &Event{}
	if r := d.RecordInto(e, value); r != nil {
		return nil, r
	}
	e.text = nil
	return e, nil
}

// RecordInto is Record into an event that is used again, with the memory of its
// texts: what was in e before is gone, also what was copied out of it without a copy
// of the bytes. After a refusal e holds nothing of use.
func (d *Decoder) RecordInto(e *Event, value []byte) *Refusal {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	v, err := p.ParseBytes(value)
	if err != nil {
		return refuse(Undecodable, "record is not JSON: "+firstLine(err.Error()))
	}
	o, err := v.Object()
	if err != nil {
		return refuse(Undecodable, "record is not a JSON object")
	}
	e.empty(len(value))
	at := 0 // AppendJSON keeps the order of Fields: most often the next key is the next field
	if r := visit(o, func(key string, v *fastjson.Value) *Refusal {
		for i := at; i < len(Fields); i++ {
			if Fields[i].Name == key {
				at = i + 1
				return Fields[i].setJSON(e, v)
			}
		}
		if f := fieldOf(key); f != nil {
			return f.setJSON(e, v)
		}
		if key == asideKey {
			return refuse(Undecodable, "the collector keeps the record aside, in dead/ of its spool: it is larger than Kafka takes")
		}
		return nil // of a newer collector
	}); r != nil {
		return refuse(Undecodable, r.Detail)
	}
	if r := e.checkRecord(); r != nil {
		return r
	}
	e.Sanitised = 0
	return nil
}

// empty clears the event and makes room for texts of so many bytes.
func (e *Event) empty(bytes int) {
	t := e.text
	if t == nil {
		t = &text{}
	}
	if cap(t.b) < bytes {
		t.b = make([]byte, 0, bytes)
	}
	t.b = t.b[:0]
	*e = Event{text: t}
}

// visit calls set for each key of an object until one refuses.
func visit(o *fastjson.Object, set func(string, *fastjson.Value) *Refusal) (r *Refusal) {
	if o.Len() > EventKeysMax {
		return refuse(TooManyKeys, strconv.Itoa(o.Len())+" keys in one object, at most "+
			strconv.Itoa(EventKeysMax)+" fit")
	}
	o.Visit(func(k []byte, v *fastjson.Value) {
		if r == nil {
			r = set(view(k), v) // the parser has it until set returns
		}
	})
	return r
}

// firstLine keeps a parser's message, which quotes what it could not read, short
// and on one line.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 200 {
		s = cut(s, 200)
	}
	return s
}
