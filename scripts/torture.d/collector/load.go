package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"footfall/event"
)

const (
	think        = 15 * time.Millisecond // of a client between two envelopes
	clients      = 8
	envelopeMax  = 50
	paddingBytes = 1200 // at most, of random text in each event
)

// oracle knows what was sent and what was answered. An acknowledged event is on its
// own disk before it counts.
type oracle struct {
	url  string
	file *os.File

	mu     sync.Mutex
	sent   []uint64 // by number: hash of the payload
	acked  []bool
	nAcked atomic.Int64
	disk   sync.Mutex // of file
}

func newOracle(path, url string) (*oracle, error) {
	f, err := os.Create(path)
	return &oracle{url: url, file: f}, err
}

// envelope makes n new events and the body that carries them. What names an event is
// a number in its props: the collector may rebuild an id when clocks disagree.
func (o *oracle) envelope(r *rand.Rand, n int) (numbers []int, body []byte) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"site":"demo","sent_at":%d,"events":[`, time.Now().UnixMilli())
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		padding := make([]byte, r.IntN(paddingBytes/2))
		for j := range padding {
			padding[j] = byte(r.Uint32())
		}
		text := fmt.Sprintf("%x", padding)
		number := o.note(text)
		numbers = append(numbers, number)
		fmt.Fprintf(&b, `{"event_id":%q,"type":"custom","name":"torture","props":{"n":%d,"padding":%q}}`,
			event.NewUUID(time.Now()), number, text)
	}
	b.WriteString("]}")
	return numbers, b.Bytes()
}

func (o *oracle) note(text string) (number int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, hashOf(text))
	o.acked = append(o.acked, false)
	return len(o.sent) - 1
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, text)
	return h.Sum64()
}

// acknowledge puts the numbers on disk, and only then counts them.
func (o *oracle) acknowledge(numbers []int) error {
	b := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	o.disk.Lock()
	_, err := o.file.Write(b)
	if err == nil {
		err = o.file.Sync()
	}
	o.disk.Unlock()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range numbers {
		o.acked[n] = true
	}
	o.nAcked.Add(int64(len(numbers)))
	return nil
}

// load sends from several clients until stop is called.
func (o *oracle) load(ctx context.Context, r *rand.Rand) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), 1))
		wg.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				o.send(ctx, client, own)
				time.Sleep(think)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// send sends an envelope, again with the same ids until it is accepted or a few tries
// have failed: what then became of it is unknown.
func (o *oracle) send(ctx context.Context, client *http.Client, r *rand.Rand) bool {
	numbers, body := o.envelope(r, 1+r.IntN(envelopeMax))
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+"/e", bytes.NewReader(body))
		if err != nil {
			return false
		}
		req.Header.Set("X-Forwarded-For", "203.0.113.7") // for the runs with a limit on addresses
		resp, err := client.Do(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 300 {
				return o.acknowledge(numbers) == nil
			}
		}
		if ctx.Err() != nil {
			return false
		}
		time.Sleep(30 * time.Millisecond)
	}
	return false
}
