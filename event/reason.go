package event

// Reason names why something was refused. The set is closed: the same word is the
// HTTP header X-Footfall-Reason, the JSON body, the metric label, the dead-letter
// column and the test's name.
type Reason string

// Reasons for which a whole request is refused.
const (
	MethodNotAllowed     Reason = "method_not_allowed"
	NotFound             Reason = "not_found"
	BadRequest           Reason = "bad_request"           // not HTTP as we speak it
	VersionNotSupported  Reason = "version_not_supported" // of HTTP
	ExpectationFailed    Reason = "expectation_failed"
	MisdirectedRequest   Reason = "misdirected_request" // for another host
	UnsupportedMediaType Reason = "unsupported_media_type"
	HeaderTooLarge       Reason = "header_too_large"
	BodyTooLarge         Reason = "body_too_large"
	RequestTimeout       Reason = "request_timeout"
	BadJSON              Reason = "bad_json"
	NoEvents             Reason = "no_events"
	TooManyEvents        Reason = "too_many_events"
	UnknownSite          Reason = "unknown_site"
	OriginNotAllowed     Reason = "origin_not_allowed"
	BadSecret            Reason = "bad_secret"
	AddressRate          Reason = "address_rate" // too many events from one address
	SiteRate             Reason = "site_rate"    // too many events of one site
	Overloaded           Reason = "overloaded"
	SpoolFull            Reason = "spool_full"
	SpoolFailed          Reason = "spool_failed"
	KafkaUnavailable     Reason = "kafka_unavailable" // of a collector without a disk
	ShuttingDown         Reason = "shutting_down"
	Internal             Reason = "internal" // a bug of ours, counted and contained
)

// Reasons for which one event is refused; the others of its envelope go on.
const (
	BadEvent      Reason = "bad_event" // not a JSON object
	UnknownType   Reason = "unknown_type"
	BadEventID    Reason = "bad_event_id"
	BadField      Reason = "bad_field"
	PropsTooLarge Reason = "props_too_large"
	TooManyKeys   Reason = "too_many_keys"
	EventTooLarge Reason = "event_too_large"
	BotRefused    Reason = "bot" // by a site that wants none
)

// Reasons for which the sink keeps a record as a dead letter.
const (
	Undecodable       Reason = "undecodable"
	RefusedByDatabase Reason = "refused_by_database"
)

// Reasons lists every Reason, for metrics and for the test that holds the set
// closed.
var Reasons = [...]Reason{
	MethodNotAllowed, NotFound, BadRequest, VersionNotSupported, ExpectationFailed,
	MisdirectedRequest, UnsupportedMediaType, HeaderTooLarge, BodyTooLarge,
	RequestTimeout, BadJSON, NoEvents, TooManyEvents, UnknownSite, OriginNotAllowed, BadSecret, AddressRate, SiteRate, Overloaded,
	SpoolFull, SpoolFailed, KafkaUnavailable, ShuttingDown, Internal,
	BadEvent, UnknownType, BadEventID, BadField, PropsTooLarge, TooManyKeys, EventTooLarge, BotRefused,
	Undecodable, RefusedByDatabase,
}

// Refusal tells the sender what was not taken and what to do about it. Index is
// the event's place in its envelope, or -1 for the whole request.
type Refusal struct {
	Index  int
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(reason Reason, detail string) *Refusal {
	return &Refusal{Index: -1, Reason: reason, Detail: detail}
}
