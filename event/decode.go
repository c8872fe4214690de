package event

import (
	"fmt"
	"strconv"
	"strings"
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
}

// Decoder turns bytes into events. The zero value is ready; it is safe for
// concurrent use and nothing it returns refers to the bytes it was given.
type Decoder struct{ parsers fastjson.ParserPool }

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
	return envelope(root, Event{})
}

// envelope reads an object whose fields are common to its events.
func envelope(root *fastjson.Value, common Event) (*Envelope, *Refusal) {
	o, err := root.Object()
	if err != nil {
		return nil, refuse(BadJSON, `body has to be an object like {"site":"…","events":[…]}`)
	}
	env := &Envelope{}
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
		env.Events, env.Indexes = []Event{common}, []int{0}
		return env, nil
	}
	return env, env.fill(events, &common)
}

func (env *Envelope) fill(events *fastjson.Value, common *Event) *Refusal {
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
	env.Events = make([]Event, 0, len(list))
	env.Indexes = make([]int, 0, len(list))
	seen := make(map[UUID]bool, len(list))
	for i, v := range list {
		e := *common
		r := e.decodeClient(v)
		if r == nil && seen[e.EventID] {
			r = refuse(BadEventID, "event_id is that of an earlier event of the envelope")
		}
		if r != nil {
			r.Index = i
			env.Refused = append(env.Refused, *r)
			continue
		}
		seen[e.EventID] = !e.EventID.IsZero()
		if !e.trusted {
			e.Site = common.Site // an event cannot choose another site than its envelope
		}
		env.Events = append(env.Events, e)
		env.Indexes = append(env.Indexes, i)
	}
	return nil
}

func (env *Envelope) setSent(v *fastjson.Value) *Refusal {
	if v.Type() == fastjson.TypeNull {
		return nil
	}
	if expected := setTime(&env.Sent, string(v.MarshalTo(nil))); expected != "" {
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
	f := fieldByName[key]
	if f == nil || !f.Client && key != "site" && !(f.Server && e.trusted) {
		e.Sanitised++
		return nil
	}
	return f.setJSON(e, v)
}

// Query reads a pixel's query, one event. Keys are field names, "props" as JSON
// text or "props.KEY" each; get returns the decoded query in order.
func (d *Decoder) Query(pairs func(yield func(key, value string) bool)) (*Envelope, *Refusal) {
	env := &Envelope{Indexes: []int{0}}
	e := Event{Type: Pageview}
	props, n := []byte{'{'}, 0
	for key, value := range pairs {
		if n++; n > EventKeysMax {
			return nil, refuse(TooManyKeys, fmt.Sprintf("more than %d query keys", EventKeysMax))
		}
		var r *Refusal
		name, isProp := strings.CutPrefix(key, "props.")
		switch {
		case isProp:
			if len(props) > 1 {
				props = append(props, ',')
			}
			props = appendString(append(appendString(props, name), ':'), value)
		case key == "sent_at":
			if expected := setTime(&env.Sent, value); expected != "" {
				r = refuse(BadField, "sent_at has to be "+expected)
			}
		case key == "props":
			r = d.props(&e, []byte(value))
		default:
			r = e.setClientText(key, value)
		}
		if r != nil {
			return nil, r
		}
	}
	if len(props) > 1 {
		if r := d.props(&e, append(props, '}')); r != nil {
			return nil, r
		}
	}
	e.finish()
	if r := e.check(); r != nil {
		return nil, r
	}
	env.Site, env.Events = e.Site, []Event{e}
	return env, nil
}

func (e *Event) setClientText(key, value string) *Refusal {
	f := fieldByName[key]
	if f == nil || !f.Client && key != "site" {
		e.Sanitised++
		return nil
	}
	if value == "" {
		return nil
	}
	return f.refused(f.set(e, value))
}

func (d *Decoder) props(e *Event, text []byte) *Refusal {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	v, err := p.ParseBytes(text)
	if err != nil {
		return refuse(BadField, "props has to be a JSON object: "+firstLine(err.Error()))
	}
	return setProps(&e.Props, v)
}

// Record reads a record from Kafka, as AppendJSON wrote it. Whatever is not such a
// record is refused as undecodable and belongs among the dead letters.
func (d *Decoder) Record(value []byte) (*Event, *Refusal) {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	v, err := p.ParseBytes(value)
	if err != nil {
		return nil, refuse(Undecodable, "record is not JSON: "+firstLine(err.Error()))
	}
	o, err := v.Object()
	if err != nil {
		return nil, refuse(Undecodable, "record is not a JSON object")
	}
	e := &Event{}
	if r := visit(o, e.setRecordField); r != nil {
		return nil, refuse(Undecodable, r.Detail)
	}
	if r := e.checkRecord(); r != nil {
		return nil, r
	}
	e.Sanitised = 0
	return e, nil
}

// setRecordField takes every field; unknown ones come from a newer collector.
func (e *Event) setRecordField(key string, v *fastjson.Value) *Refusal {
	f := fieldByName[key]
	if f == nil {
		return nil
	}
	return f.setJSON(e, v)
}

// visit calls set for each key of an object until one refuses.
func visit(o *fastjson.Object, set func(string, *fastjson.Value) *Refusal) (r *Refusal) {
	if o.Len() > EventKeysMax {
		return refuse(TooManyKeys, strconv.Itoa(o.Len())+" keys in one object, at most "+
			strconv.Itoa(EventKeysMax)+" fit")
	}
	o.Visit(func(k []byte, v *fastjson.Value) {
		if r == nil {
			r = set(string(k), v)
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
