package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"footfall/sink/consume"
)

// tailCmd prints the topic. It reads beside the sink and moves nobody's position.
type tailCmd struct {
	dataFlags
	kafkaFlags
	FromStart bool  `help:"Begin with the oldest record there is; the broker of up forgets records once they are stored."`
	N         count `short:"n" help:"End after this many records." placeholder:"N"`
}

// Run prints until ctx ends or N records were printed.
func (c *tailCmd) Run(ctx context.Context, p *program) error {
	left := int(c.N)
	each := func(line []byte) error {
		if _, err := fmt.Fprintf(p.out, "%s\n", line); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	}
	err := c.read(ctx, p, each)
	if ctx.Err() != nil || errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("enough records")

func (c *tailCmd) read(ctx context.Context, p *program, each func([]byte) error) error {
	if len(c.Brokers) > 0 {
		cluster, err := c.cluster()
		if err != nil {
			return err
		}
		return consume.Tail(ctx, consume.Options{Kafka: cluster, Topic: c.Topic,
			Logger: p.log}, !c.FromStart, func(r consume.Record) error { return each(r.Value) })
	}
	up, ok, err := c.running()
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("no footfall up runs on %s: start it, or give --brokers", c.Data)
	}
	if len(up.Brokers) > 0 {
		c.Brokers = up.Brokers
		return c.read(ctx, p, each)
	}
	return tailAdmin(ctx, up.Admin, c.FromStart, each)
}

// tailAdmin reads the records of the broker that has no port.
func tailAdmin(ctx context.Context, admin string, fromStart bool, each func([]byte) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/tail", nil)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	if fromStart {
		req.URL.RawQuery = "from=start"
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("tail: %s answers %s", admin, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	return io.ErrUnexpectedEOF
}

// tailOf is the admin listener's side of tailAdmin.
func tailOf(o consume.Options) func(context.Context, bool, func([]byte) error) error {
	return func(ctx context.Context, fromEnd bool, each func([]byte) error) error {
		return consume.Tail(ctx, o, fromEnd, func(r consume.Record) error { return each(r.Value) })
	}
}
