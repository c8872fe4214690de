package intake

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

// What Append reports when it cannot store; collector.go maps the spool's errors
// to them. Any other error is spool_failed.
var (
	ErrFull   = errors.New("no space for more records")
	ErrBusy   = errors.New("too many records are waiting")
	ErrClosed = errors.New("no more records are taken")
	ErrAway   = errors.New("records were not acknowledged in time") // and may be stored

	ErrTooLarge = errors.New("a record is larger than the topic takes")
)

// status is what a reason means in HTTP. retry is the Retry-After in seconds, for
// what may go well later.
type status struct{ code, retry int }

// statuses has every reason that a request can meet; those of single events are
// met by an envelope in which no event was good.
var statuses = map[event.Reason]status{
	event.MethodNotAllowed:     {fasthttp.StatusMethodNotAllowed, 0},
	event.NotFound:             {fasthttp.StatusNotFound, 0},
	event.BadRequest:           {fasthttp.StatusBadRequest, 0},
	event.VersionNotSupported:  {fasthttp.StatusHTTPVersionNotSupported, 0},
	event.ExpectationFailed:    {fasthttp.StatusExpectationFailed, 0},
	event.MisdirectedRequest:   {fasthttp.StatusMisdirectedRequest, 0},
	event.UnsupportedMediaType: {fasthttp.StatusUnsupportedMediaType, 0},
	event.HeaderTooLarge:       {fasthttp.StatusRequestHeaderFieldsTooLarge, 0},
	event.BodyTooLarge:         {fasthttp.StatusRequestEntityTooLarge, 0},
	event.RequestTimeout:       {fasthttp.StatusRequestTimeout, 0},
	event.BadJSON:              {fasthttp.StatusBadRequest, 0},
	event.NoEvents:             {fasthttp.StatusBadRequest, 0},
	event.TooManyEvents:        {fasthttp.StatusRequestEntityTooLarge, 0},
	event.UnknownSite:          {fasthttp.StatusForbidden, 0},
	event.OriginNotAllowed:     {fasthttp.StatusForbidden, 0},
	event.BadSecret:            {fasthttp.StatusUnauthorized, 0},
	event.AddressRate:          {fasthttp.StatusTooManyRequests, 1},
	event.SiteRate:             {fasthttp.StatusTooManyRequests, 1},
	event.Overloaded:           {fasthttp.StatusServiceUnavailable, 1},
	event.SpoolFull:            {fasthttp.StatusServiceUnavailable, 30},
	event.SpoolFailed:          {fasthttp.StatusServiceUnavailable, 10},
	event.KafkaUnavailable:     {fasthttp.StatusServiceUnavailable, 5},
	event.ShuttingDown:         {fasthttp.StatusServiceUnavailable, 2},
	event.Internal:             {fasthttp.StatusInternalServerError, 0},
	event.BadEvent:             {fasthttp.StatusBadRequest, 0},
	event.UnknownType:          {fasthttp.StatusBadRequest, 0},
	event.BadEventID:           {fasthttp.StatusBadRequest, 0},
	event.BadField:             {fasthttp.StatusBadRequest, 0},
	event.PropsTooLarge:        {fasthttp.StatusBadRequest, 0},
	event.TooManyKeys:          {fasthttp.StatusBadRequest, 0},
	event.EventTooLarge:        {fasthttp.StatusRequestEntityTooLarge, 0},
	event.BotRefused:           {fasthttp.StatusForbidden, 0},
}

// answer is the body of all that is not 204. Events and Client are a dry run's.
type answer struct {
	Reason   event.Reason      `json:"reason,omitempty"`
	Detail   string            `json:"detail,omitempty"`
	Accepted *int              `json:"accepted,omitempty"`
	Refused  []refused         `json:"refused,omitempty"`
	Results  []result          `json:"results,omitempty"`
	Events   []json.RawMessage `json:"events,omitempty"`
	Client   *address          `json:"client,omitempty"`
}

type refused struct {
	Index  int          `json:"index"`
	Reason event.Reason `json:"reason"`
	Detail string       `json:"detail"`
}

func refusal(reason event.Reason, detail string) *event.Refusal {
	return &event.Refusal{Index: -1, Reason: reason, Detail: detail}
}

// refuse answers a request of which nothing was taken and whose site is not known, and
// counts it once.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, r *event.Refusal) { s.refuseOf(ctx, "", r) }

// refuseOf does the same for a known site.
func (s *Server) refuseOf(ctx *fasthttp.RequestCtx, site string, r *event.Refusal) {
	s.note(site, r)
	setRefusal(ctx, r, answer{})
}

// note counts a refusal and keeps it for whoever asks.
func (s *Server) note(site string, r *event.Refusal) {
	s.count.refused[r.Reason].Inc()
	s.watch.of(site).refused.Inc()
	s.recent.note(Refused{At: s.options.Now().UTC(), Site: site, Reason: r.Reason, Detail: r.Detail})
}

// setRetry tells in whole seconds when to come again.
func setRetry(ctx *fasthttp.RequestCtx, wait time.Duration) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.FormatInt(seconds, 10))
}

func setRefusal(ctx *fasthttp.RequestCtx, r *event.Refusal, a answer) {
	st := statuses[r.Reason]
	ctx.SetStatusCode(st.code)
	ctx.Response.Header.Set(reasonHeader, string(r.Reason))
	if st.retry > 0 {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(st.retry))
	}
	a.Reason, a.Detail = r.Reason, r.Detail
	setJSON(ctx, a)
}

func refusedOf(all []event.Refusal) []refused {
	out := make([]refused, len(all))
	for i, r := range all {
		out[i] = refused{max(r.Index, 0), r.Reason, r.Detail}
	}
	return out
}

func setJSON(ctx *fasthttp.RequestCtx, a answer) {
	body, err := json.Marshal(a)
	if err != nil {
		panic(err) // an answer holds texts, numbers and records that are JSON
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(body, '\n'))
}

// refuseUnread answers a request that fasthttp could not read; it closes the
// connection afterwards.
func (s *Server) refuseUnread(ctx *fasthttp.RequestCtx, err error) {
	defer s.contain(ctx)
	ctx.Response.Reset()
	s.setCORS(ctx)
	// Whatever the headers say, they may not be all: the peer counts, unless it is a proxy.
	peer := peerAddress(ctx.RemoteAddr())
	if !s.trusted(peer) && s.overRate(ctx, caller{at: s.options.Now(), client: peer}) {
		return
	}
	s.refuse(ctx, unreadable(err, BodyBytesMax))
}

// appendRefusal tells the sender why Append did not store, and whoever runs the
// collector what it said.
func (s *Server) appendRefusal(err error) *event.Refusal {
	switch {
	case errors.Is(err, ErrFull):
		return refusal(event.SpoolFull, "the collector's disk space is used up: send again later")
	case errors.Is(err, ErrBusy):
		return refusal(event.Overloaded, "the collector is busy: send again in a moment")
	case errors.Is(err, ErrTooLarge):
		return refusal(event.EventTooLarge, "an event is larger than the topic takes (max.message.bytes)")
	case errors.Is(err, ErrAway):
		return refusal(event.KafkaUnavailable, "Kafka is away: send again under the same event_id")
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return refusal(event.ShuttingDown, "the collector is stopping: send again")
	}
	// Health says why; a line of the log would be one an event.
	return refusal(event.SpoolFailed, "the collector could not store the events: send again later")
}
