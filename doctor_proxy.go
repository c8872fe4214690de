package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// forged is an address that nobody has (TEST-NET-2, RFC 5737).
const forged = "198.51.100.77"

// forgedIn are the headers in which proxies tell addresses, and strangers too.
var forgedIn = []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP",
	"X-Client-IP", "Fastly-Client-IP", "X-Cluster-Client-IP"}

// believed is the client of a dry run's answer.
type believed struct {
	Address string `json:"address"`
	Header  string `json:"header"`
}

// proxy tells which address the collector behind a proxy believes to be this machine's,
// and by which header. It is a problem when the collector believes what we forge: then
// anybody can, and rates, countries and visitors mean nothing.
func (c *doctorCmd) proxy(ctx context.Context, p *program) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Within))
	defer cancel()
	plain, err := c.askProxy(ctx, p, nil)
	if err != nil {
		return "", err
	}
	for _, name := range forgedIn {
		value := forged
		if name == "Forwarded" {
			value = "for=" + forged
		}
		b, err := c.askProxy(ctx, p, http.Header{http.CanonicalHeaderKey(name): {value}})
		if err != nil {
			return "", err
		}
		if b.Address == forged {
			return "", fmt.Errorf("whoever writes %s can be anybody: let the proxy replace that header, "+
				"or set --client-header to one that it does replace (from within --trusted-proxies this is "+
				"always so: ask from outside)", name)
		}
	}
	if plain.Header == "" {
		return "", fmt.Errorf("the collector takes %s for the client: no header was believed. Behind a proxy name "+
			"the proxy's network in --trusted-proxies, and in --client-header the header it writes", plain.Address)
	}
	return fmt.Sprintf("we are %s, by %s; forged headers are not believed", plain.Address, plain.Header), nil
}

// askProxy sends a pageview that is not stored.
func (c *doctorCmd) askProxy(ctx context.Context, p *program, headers http.Header) (b believed, err error) {
	body, err := json.Marshal(map[string]any{"site": c.Site, "type": "pageview"})
	if err != nil {
		return b, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(c.Proxy)+"/e", bytes.NewReader(body))
	if err != nil {
		return b, err
	}
	if headers != nil {
		req.Header = headers
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("User-Agent", "footfall-doctor")
	req.Header.Set("X-Footfall-Dry-Run", "1")
	origin, err := originOf(p, c.Site)
	if err != nil {
		return b, err
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return b, err
	}
	if resp.StatusCode != http.StatusOK {
		return b, fmt.Errorf("%s answers %s: %.200s", c.Proxy, resp.Status, answer)
	}
	var told struct{ Client *believed }
	if err := json.Unmarshal(answer, &told); err != nil || told.Client == nil {
		return b, errors.New("the answer names no client: is an older collector behind it?")
	}
	return *told.Client, nil
}
