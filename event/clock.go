package event

import "time"

// The bounds within which a sender's clock is believed. A row's place in the
// table follows from OccurredAt, so a wrong clock must not be able to choose it
// freely; 48 hours leave room for a page that was offline over a night.
const (
	ClockSkewMax  = 10 * time.Minute
	ClockDelayMax = 48 * time.Hour
	// ClockImportMax is how far back a sender with a secret may reach: the days that
	// the store makes partitions for.
	ClockImportMax = 400 * 24 * time.Hour
)

// Stamp sets the event's id, times and clock from what the sender said and from
// when it was received. OccurredAt is always the millisecond inside EventID, so
// an event that is sent again gets the same key and stays one row.
//
// The sender is believed when its clock, read at sending, is within ClockSkewMax
// of ours and the event lies within ClockDelayMax before now. Otherwise the id is
// rebuilt from the hour of receipt and the sender's random bits: a re-send within
// that hour still is the same row.
//
// Who sent it under the site's secret is believed without that, see CheckTime.
func (e *Event) Stamp(received, sent time.Time) {
	received = received.UTC().Truncate(time.Millisecond)
	e.ReceivedAt = received
	if e.trusted {
		e.stampTrusted()
		return
	}
	skew := received.Sub(sent)
	trusted := !sent.IsZero() && skew <= ClockSkewMax && skew >= -ClockSkewMax

	switch id := e.EventID; {
	case id.IsZero() && trusted && believable(e.OccurredAt, received):
		e.EventID, e.Clock = NewUUID(e.OccurredAt), ClockClient
	case id.IsZero():
		e.EventID, e.Clock = NewUUID(received), ClockServer
	case trusted && id.IsV7() && believable(id.Time(), received):
		e.Clock = ClockClient
	default:
		e.EventID, e.Clock = id.at(received.Truncate(time.Hour)), ClockServer
	}
	e.OccurredAt = e.EventID.Time()
}

// stampTrusted takes the time that the sender gave, else that of its id.
func (e *Event) stampTrusted() {
	at := e.OccurredAt
	e.Clock = ClockClient
	switch {
	case !at.IsZero():
	case e.EventID.IsV7():
		at = e.EventID.Time()
	default:
		at, e.Clock = e.ReceivedAt, ClockServer
	}
	if e.EventID.IsZero() {
		e.EventID = NewUUID(at)
	} else {
		e.EventID = e.EventID.at(at)
	}
	e.OccurredAt = e.EventID.Time()
}

// CheckTime refuses an event sent under a secret whose time the store has no place
// for. It is told instead of mended: whoever imports history has to know.
func (e *Event) CheckTime(received time.Time) *Refusal {
	at := e.OccurredAt
	if at.IsZero() && e.EventID.IsV7() {
		at = e.EventID.Time()
	}
	if at.IsZero() || !at.Before(received.Add(-ClockImportMax)) && !at.After(received.Add(ClockSkewMax)) {
		return nil
	}
	return refuse(BadField, "occurred_at (or the time inside event_id) has to lie within the last "+
		"400 days, in Unix milliseconds")
}

func believable(t, received time.Time) bool {
	return !t.Before(received.Add(-ClockDelayMax)) && !t.After(received.Add(ClockSkewMax))
}
