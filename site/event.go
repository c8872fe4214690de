package site

import (
	"encoding/json"
	"time"
)

// Event is one row of footfall.events as the live view shows it. Texts are as a stranger sent
// them: they are only ever put into a page by textContent. Unknown is "", a zero time or nil.
type Event struct {
	ID, Site, Type, Name             string
	URL, Hostname, Path, Title       string
	Referrer, Country                string
	Browser, OS, Device              string
	Language, Transport              string
	SessionID, VisitorID             string
	Bot                              bool
	OccurredAt, ReceivedAt, LoadedAt time.Time
	Props                            json.RawMessage
}

// wireEvent is the event on its way to the browser: the names of the table, times in Unix
// milliseconds, nothing for what is unknown.
type wireEvent struct {
	ID         string          `json:"event_id"`
	Site       string          `json:"site"`
	Type       string          `json:"type"`
	Name       string          `json:"name,omitempty"`
	URL        string          `json:"url,omitempty"`
	Hostname   string          `json:"hostname,omitempty"`
	Path       string          `json:"path,omitempty"`
	Title      string          `json:"title,omitempty"`
	Referrer   string          `json:"referrer,omitempty"`
	Country    string          `json:"country,omitempty"`
	Browser    string          `json:"browser,omitempty"`
	OS         string          `json:"os,omitempty"`
	Device     string          `json:"device,omitempty"`
	Language   string          `json:"language,omitempty"`
	Transport  string          `json:"transport,omitempty"`
	SessionID  string          `json:"session_id,omitempty"`
	VisitorID  string          `json:"visitor_id,omitempty"`
	Bot        bool            `json:"bot"`
	OccurredAt int64           `json:"occurred_at,omitempty"`
	ReceivedAt int64           `json:"received_at,omitempty"`
	LoadedAt   int64           `json:"loaded_at,omitempty"`
	Props      json.RawMessage `json:"props,omitempty"`
}

// encode gives the event as one line of JSON: encoding/json compacts the props and escapes
// line breaks, so that no text can end a server-sent message early.
func (e *Event) encode() ([]byte, error) {
	w := wireEvent{
		ID: e.ID, Site: e.Site, Type: e.Type, Name: e.Name,
		URL: e.URL, Hostname: e.Hostname, Path: e.Path, Title: e.Title,
		Referrer: e.Referrer, Country: e.Country,
		Browser: e.Browser, OS: e.OS, Device: e.Device,
		Language: e.Language, Transport: e.Transport,
		SessionID: e.SessionID, VisitorID: e.VisitorID, Bot: e.Bot,
		OccurredAt: unixMilli(e.OccurredAt),
		ReceivedAt: unixMilli(e.ReceivedAt),
		LoadedAt:   unixMilli(e.LoadedAt),
	}
	// One row with broken props must not cost the others their place in the stream.
	if json.Valid(e.Props) {
		w.Props = e.Props
	}
	return json.Marshal(&w)
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
