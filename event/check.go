package event

import (
	"fmt"
	"slices"
	"strings"
)

// finish sets what follows from the rest.
func (e *Event) finish() {
	e.Schema = Some(Schema)
	if e.Type == "" {
		e.Type = Pageview
	}
	e.Currency = strings.ToUpper(e.Currency)
}

// check refuses an event that a sender has to correct.
func (e *Event) check() *Refusal {
	if !knownType(e.Type) {
		return refuse(UnknownType, fmt.Sprintf("type %q is none of %v", e.Type, Types))
	}
	if e.Currency != "" && (len(e.Currency) != 3 || strings.Trim(e.Currency, letters) != "") {
		return refuse(BadField, "currency has to be three letters like EUR")
	}
	if !slices.Contains(transports[:], e.Transport) {
		return refuse(BadField, "transport has to be beacon, fetch, pixel, api or email")
	}
	return nil
}

var transports = [...]string{"", TransportBeacon, TransportFetch, TransportPixel, TransportAPI,
	TransportEmail}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// checkRecord refuses a record that no collector wrote.
func (e *Event) checkRecord() *Refusal {
	for i := range Fields {
		f := &Fields[i]
		if f.Required && f.zero(e) {
			return refuse(Undecodable, f.Name+" is missing")
		}
	}
	if !knownType(e.Type) {
		return refuse(Undecodable, fmt.Sprintf("type %q is none of %v", e.Type, Types))
	}
	if !e.EventID.IsV7() || !e.OccurredAt.Equal(e.EventID.Time()) {
		return refuse(Undecodable, "occurred_at is not the time inside event_id")
	}
	return nil
}

func (f *Field) zero(e *Event) bool {
	switch p := f.at(e).(type) {
	case *string:
		return *p == ""
	case *Type:
		return *p == ""
	case *UUID:
		return p.IsZero()
	case *Int:
		return !p.OK
	case interface{ IsZero() bool }:
		return p.IsZero()
	}
	return false
}
