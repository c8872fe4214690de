//go:build outside

package outside

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startCollector(t *testing.T, args ...string) (c *process, listen, admin string) {
	t.Helper()
	listen, admin = freePort(t), freePort(t)
	c = start(t, append([]string{"collector", "--brokers", "127.0.0.1:1", "--listen", listen, "--admin-listen", admin,
		"--spool", t.TempDir()}, args...)...)
	wait(t, "the collector", func() bool {
		resp, err := http.Get("http://" + admin + "/health/live")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	return c, listen, admin
}

// TestOthersDoNotNoticeHostileConnections holds thousands of connections in the ways
// that cost a server most, and sends beacons beside them.
func TestOthersDoNotNoticeHostileConnections(t *testing.T) {
	const idle, slow, declared, unread = 10_000, 500, 5000, 200
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // the collector inherits it
	if needed := uint64(idle + 2*slow + declared + unread + 200); limit.Max < needed {
		t.Fatalf("this test needs %d open files, the hard limit is %d: raise it (ulimit -Hn)", needed, limit.Max)
	}
	c, listen, _ := startCollector(t)
	hold := func(n int, first string) (conns []net.Conn) {
		for range n {
			conn, err := net.Dial("tcp", listen)
			if err != nil {
				t.Fatalf("connection %d: %v", len(conns), err)
			}
			t.Cleanup(func() { conn.Close() })
			if _, err := conn.Write([]byte(first)); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		return conns
	}
	const head = "POST /e HTTP/1.1\r\nHost: c.example\r\n"
	// One answered request each, so that the connections may stay: keep-alive, idle.
	idlers := hold(idle, "GET /p.gif?site=demo HTTP/1.1\r\nHost: c.example\r\nX-Footfall-Dry-Run: 1\r\n\r\n")
	slowOnes := hold(slow, head+"X-Slow: ")                                       // headers that never end
	hold(slow, head+"Content-Type: text/plain\r\nContent-Length: 60000\r\n\r\n{") // a body that never ends
	// Bodies that are announced and never begin: as much as they announce would be 300 MiB.
	hold(declared, head+"Content-Type: text/plain\r\nContent-Length: 65536\r\n\r\n")
	// Pipelined requests whose answers nobody reads.
	pipelined := strings.Repeat("GET /f.js HTTP/1.1\r\nHost: c.example\r\n\r\n", 500)
	for range unread {
		conn := hold(1, "")[0]
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		conn.Write([]byte(pipelined)) // as much as it takes
	}

	client := &http.Client{Timeout: 10 * time.Second}
	accepted := 0
	for i := range 300 {
		resp, err := client.Post("http://"+listen+"/e", "text/plain", strings.NewReader(fmt.Sprintf(`{"site":"demo","name":"n%d"}`, i)))
		if err != nil {
			t.Fatalf("beacon %d: %v", i, err)
		}
		resp.Body.Close()
		if resp.StatusCode == 204 {
			accepted++
		}
	}
	if accepted != 300 {
		t.Errorf("%d of 300 beacons accepted beside the hostile connections", accepted)
	}
	if rss := residentMiB(t, c.cmd.Process.Pid); rss > 512 {
		t.Errorf("the collector holds %d MiB", rss)
	} else {
		t.Logf("%d connections: the collector holds %d MiB", idle+2*slow+declared+unread, rss)
	}
	// Five seconds are the whole of a request's time, however its bytes drip.
	for range 12 {
		for _, conn := range slowOnes[:10] {
			conn.Write([]byte("x"))
		}
		time.Sleep(time.Second / 2)
	}
	slowOnes[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(slowOnes[0]).ReadString('\n'); err == nil && !strings.Contains(line, " 4") {
		t.Errorf("a request that never ends gets %q", line)
	}
	// The idle ones are still there: they have 75 seconds.
	in := bufio.NewReader(idlers[0])
	idlers[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the first answer on an idle connection: %v", err)
	}
}

func residentMiB(t *testing.T, pid int) (mib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	fmt.Sscan(after, &mib)
	return mib >> 10
}

// TestDoctorTellsWhichAddressIsBelieved goes through reverse proxies that are right, that
// pass on what strangers write, and that tell nothing.
func TestDoctorTellsWhichAddressIsBelieved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rewrite string
		args          []string
		status        int
		says          string
	}{
		{"appends", "append", []string{"--trusted-proxies", "127.0.0.2/32"}, 0, "by X-Forwarded-For"},
		{"not trusted", "append", nil, 1, "--trusted-proxies"},
		{"passes on", "pass", []string{"--trusted-proxies", "127.0.0.2/32"}, 1, "whoever writes X-Forwarded-For can be anybody"},
		{"own header", "real", []string{"--trusted-proxies", "127.0.0.2/32", "--client-header", "x-real-ip"}, 0, "by X-Real-Ip"},
		{"own header passed on", "pass", []string{"--trusted-proxies", "127.0.0.2/32", "--client-header", "X-Real-IP"}, 1,
			"whoever writes X-Real-IP can be anybody"},
	} {
		_, listen, _ := startCollector(t, c.args...)
		target, err := url.Parse("http://" + listen)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		// Another address than doctor's: who is trusted may say anything.
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		server := &http.Server{Handler: &httputil.ReverseProxy{Transport: &http.Transport{DialContext: from.DialContext}, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			switch c.rewrite {
			case "append":
				r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
				r.SetXForwarded()
			case "pass":
				r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			case "real":
				r.Out.Header.Set("X-Real-IP", "203.0.113.5")
			}
		}}}
		go server.Serve(ln)
		t.Cleanup(func() { server.Close() })
		out, status := run(t, "doctor", "--proxy", "http://"+ln.Addr().String())
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", c.name, status, c.status, c.says, out)
		}
	}
}
