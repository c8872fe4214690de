package intake

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"footfall/event"
)

func loadOpenAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err == nil {
		err = doc.Validate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTheOpenAPIFileHasOurFieldsAndReasons(t *testing.T) {
	t.Parallel()
	doc := loadOpenAPI(t)
	var fields []string
	for _, f := range event.Fields {
		if f.Client || f.Server || f.Name == "site" {
			fields = append(fields, f.Name)
		}
	}
	slices.Sort(fields)
	if got := slices.Sorted(maps.Keys(doc.Components.Schemas["Event"].Value.Properties)); !slices.Equal(got, fields) {
		t.Errorf("fields are %v, want %v", got, fields)
	}
	var types []string
	for _, v := range doc.Components.Schemas["Event"].Value.Properties["type"].Value.Enum {
		types = append(types, v.(string))
	}
	for i, want := range event.Types {
		if i >= len(types) || types[i] != string(want) {
			t.Fatalf("types are %v, want %v", types, event.Types)
		}
	}
	var reasons, want []string
	for _, v := range doc.Components.Schemas["Reason"].Value.Enum {
		reasons = append(reasons, v.(string))
	}
	for r := range statuses {
		want = append(want, string(r))
	}
	slices.Sort(reasons)
	slices.Sort(want)
	if !slices.Equal(reasons, want) {
		t.Errorf("reasons are %v, want %v", reasons, want)
	}
}

// Every answer of the server API is one that the file describes, and every status that
// the file has is given for some request.
func TestTheServerAPIAnswersAsTheOpenAPIFileSays(t *testing.T) {
	t.Parallel()
	op := loadOpenAPI(t).Paths.Find("/api/events").Post
	given := map[string]bool{}
	for _, c := range apiCases {
		s, kept, secret := newAPIServer(t)
		kept.err = c.append
		if c.before != nil {
			c.before(s)
		}
		resp := c.request(secret).send(s)
		if resp.StatusCode() != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode(), resp.Body(), c.status)
			continue
		}
		status := http.StatusText(c.status)
		r := op.Responses.Status(c.status)
		if r == nil {
			t.Errorf("%s: %d %s is not described", c.name, c.status, status)
			continue
		}
		header := http.Header{}
		for k, v := range resp.Header.All() {
			header.Add(string(k), string(v))
		}
		err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: &http.Request{Method: "POST", Header: http.Header{}},
				Route:   &routers.Route{Operation: op}},
			Status: c.status, Header: header, Body: io.NopCloser(bytes.NewReader(resp.Body()))})
		if err != nil {
			t.Errorf("%s: %s is not as described: %v", c.name, resp.Body(), err)
		}
		given[strings.TrimSpace(status)] = true
	}
	for code := range op.Responses.Map() {
		found := slices.ContainsFunc(apiCases, func(c apiCase) bool {
			return code == http.StatusText(c.status) || code == itoa(c.status)
		})
		if code != "default" && !found {
			t.Errorf("no request is answered with %s", code)
		}
	}
}
