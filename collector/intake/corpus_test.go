package intake

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/collector/sites"
	"footfall/event"
)

// inputCase is one entry of testdata/http: what is sent, byte by byte, and what has to
// come back.
//
//	## name
//	lines, each ended by \r\n, with escapes as in Go; one that ends in \ is the last
//	=> status reason-or-dash [open|close]
//
// with a => for each answer. <<x*9000>> stands for x nine thousand times, <<secret>> for the site's secret. open
// and close say what becomes of the connection, where that matters.
type inputCase struct {
	name, text string
	answers    []wanted
	after      string
}

type wanted struct {
	status int
	reason string
}

var repeated = regexp.MustCompile(`<<(.+?)\*(\d+)>>`)

func readCases(t testing.TB) map[string][]inputCase {
	t.Helper()
	files, err := filepath.Glob("testdata/http/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	out := map[string][]inputCase{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		family := strings.TrimSuffix(filepath.Base(file), ".txt")
		for _, entry := range strings.Split(string(b), "## ")[1:] {
			out[family] = append(out[family], parseCase(t, entry))
		}
	}
	return out
}

func parseCase(t testing.TB, entry string) (c inputCase) {
	t.Helper()
	name, rest, _ := strings.Cut(entry, "\n")
	lines, answers, ok := strings.Cut(rest, "=> ")
	if !ok {
		t.Fatalf("%s: nothing is expected", name)
	}
	var text strings.Builder
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		end := "\r\n"
		if cut, last := strings.CutSuffix(line, `\`); last && !strings.HasSuffix(cut, `\`) {
			line, end = cut, ""
		}
		unescaped, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(line, `\"`, `\x22`), `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%s: %q: %v", name, line, err)
		}
		text.WriteString(unescaped + end)
	}
	c.name = name
	c.text = repeated.ReplaceAllStringFunc(text.String(), func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	for answer := range strings.SplitSeq(answers, "=> ") {
		fields := strings.Fields(answer)
		status, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.answers = append(c.answers, wanted{status, strings.Trim(fields[1], "-")})
		if len(fields) > 2 {
			c.after = fields[2]
		}
	}
	return c
}

// TestTheCorpusOfRequestsIsAnsweredAsWritten sends each input over TCP to a server of
// its own.
func TestTheCorpusOfRequestsIsAnsweredAsWritten(t *testing.T) {
	t.Parallel()
	n := 0
	for family, cases := range readCases(t) {
		n += len(cases)
		for _, c := range cases {
			t.Run(family+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				c.check(t)
			})
		}
	}
	if n < 300 {
		t.Errorf("the corpus has %d inputs, want 300 at least", n)
	}
}

func (c inputCase) check(t *testing.T) {
	s, kept, secret := newCorpusServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, s, ln)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(conn, strings.ReplaceAll(c.text, "<<secret>>", secret))
	r := bufio.NewReader(conn)
	method, _, _ := strings.Cut(strings.TrimLeft(c.text, "\r\n"), " ")
	var resp *http.Response
	accepted := false
	for _, want := range c.answers {
		resp = c.read(t, r, method)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want.status || resp.Header.Get(reasonHeader) != want.reason {
			t.Fatalf("%d %s, want %d %s: %s", resp.StatusCode, resp.Header.Get(reasonHeader),
				want.status, want.reason, body)
		}
		sends := strings.Contains(c.text, "POST /") || strings.Contains(c.text, " /p.gif")
		accepted = accepted || want.status >= 200 && want.status < 300 && sends && method != "OPTIONS"
	}
	kept.mu.Lock()
	stored := len(kept.records)
	kept.mu.Unlock()
	if accepted != (stored > 0) {
		t.Errorf("%v, and %d records are stored", c.answers, stored)
	}
	switch c.after {
	case "open":
		if resp.Close {
			t.Error("the answer closes the connection")
		}
		io.WriteString(conn, oneBeacon)
		if resp := c.read(t, r, "POST"); resp.StatusCode != 204 {
			t.Errorf("the next request gets %d", resp.StatusCode)
		}
	case "close":
		// A reset is a close too: what was not read makes one.
		if b, err := r.ReadByte(); err == nil {
			t.Errorf("the connection goes on with %q", b)
		} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error("the connection stays open")
		}
	}
	if resp := good(t, ln); resp != 204 {
		t.Errorf("afterwards a good request gets %d", resp)
	}
}

func (c inputCase) read(t *testing.T, r *bufio.Reader, method string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return resp
}

// good sends one good beacon on a connection of its own.
func good(t *testing.T, ln net.Listener) int {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, oneBeacon)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("a good request is not answered: %v", err)
	}
	return resp.StatusCode
}

func newCorpusServer(t testing.TB) (*Server, *shelf, string) {
	t.Helper()
	secret, hash := sites.NewSecret()
	list, err := sites.Parse(fmt.Appendf(nil, "sites:\n  shop: {secrets: ['%s']}\n", hash))
	if err != nil {
		t.Fatal(err)
	}
	s, kept := newTestServer(func(o *Options) { o.Sites = func() *sites.List { return list } })
	return s, kept, secret
}

// FuzzRequest sends bytes as they come: whatever they are, the server answers or closes,
// does not panic, and stores nothing that a sink could not read.
func FuzzRequest(f *testing.F) {
	for _, cases := range readCases(f) {
		for _, c := range cases {
			if len(c.text) < 2000 {
				f.Add([]byte(c.text))
			}
		}
	}
	s, kept, _ := newCorpusServer(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { s.http.ServeConn(&conn{Conn: server}); server.Close(); close(done) }()
		client.SetDeadline(time.Now().Add(time.Second))
		go func() { client.Write(input); client.Close() }()
		io.Copy(io.Discard, client)
		client.Close()
		<-done
		kept.mu.Lock()
		records := kept.records
		kept.records = nil
		kept.mu.Unlock()
		var d event.Decoder
		for _, r := range records {
			_, value := event.SplitRecord([]byte(r))
			if _, refused := d.Record(value); refused != nil {
				t.Errorf("%q stores what no sink reads: %v", input, refused)
			}
		}
		if n := s.count.refused[event.Internal].Get(); n > 0 {
			t.Errorf("%q panics", input)
		}
	})
}
