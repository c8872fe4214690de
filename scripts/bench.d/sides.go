package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"footfall/event"
)

// server is one side: how it is started, and what is asked of it.
type server struct {
	name, path string
	post       bool
	start      func(s settings, dir, port string) *exec.Cmd
}

const naiveName = "naive beacon"

var servers = []server{
	{"nginx empty_gif", "/p.gif" + pixelQuery, false, nginx},
	{"footfall pixel", "/p.gif" + pixelQuery, false, footfall},
	{"nginx return 204", "/e", true, nginx},
	{"footfall beacon", "/e", true, footfall},
	{naiveName, "/e", true, naive},
}

const pixelQuery = "?site=demo&type=pageview&url=https%3A%2F%2Fshop.example%2Fshoes%2Fred%3Futm_source%3Dmay&" +
	"referrer=https%3A%2F%2Fwww.google.de%2F&title=Red+shoes&screen_w=1536&screen_h=864&viewport_w=1280&" +
	"viewport_h=720&language=de-DE&session_id=0123456789abcdef&pageview_id=fedcba9876543210"

const nginxConf = `daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen 127.0.0.1:%[2]s backlog=4096;
    location = /p.gif { empty_gif; }
    location = /e { return 204; }
  }
}
`

func nginx(_ settings, dir, port string) *exec.Cmd {
	conf := filepath.Join(dir, "nginx.conf")
	os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, port), 0o644)
	return exec.Command("taskset", "-c", "0", "nginx", "-c", conf, "-e", filepath.Join(dir, "nginx.log"))
}

// footfall runs without Kafka: forwarding is not on the way to the answer. The client's
// address comes in a header, because loopback has no country to look up.
func footfall(s settings, dir, port string) *exec.Cmd {
	return exec.Command("taskset", "-c", "0", s.bin, "collector", "--brokers", "127.0.0.1:1",
		"--listen", "127.0.0.1:"+port, "--admin-listen", "127.0.0.1:0", "--spool", filepath.Join(dir, "spool"),
		"--spool-max-bytes", "64GiB", "--trusted-proxies", "127.0.0.1", "--address-rate", "0")
}

func naive(s settings, dir, port string) *exec.Cmd {
	if s.naive == "" {
		return nil
	}
	cmd := exec.Command("taskset", "-c", "0", s.naive, "-m", "flask", "--app", "scripts/bench.d/naive/app",
		"run", "--port", port)
	cmd.Env = append(os.Environ(), "BROKERS="+s.brokers)
	return cmd
}

// running is a server that answers.
type running struct {
	cmd  *exec.Cmd
	dir  string
	addr string
}

func (sv server) run(s settings) (*running, error) {
	dir, err := os.MkdirTemp(s.dir, "side-")
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := sv.start(s, dir, port)
	if cmd == nil {
		return nil, nil
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd, dir, addr}
	for range 400 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return r, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.stop()
	b, _ := os.ReadFile(filepath.Join(dir, "log"))
	return nil, fmt.Errorf("%s does not listen: %s", sv.name, b)
}

func (r *running) stop() {
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	r.cmd.Wait()
	os.RemoveAll(r.dir)
}

// rssMax is the most memory that the process has had, in bytes.
func (r *running) rssMax() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	var kib int64
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	fmt.Sscan(after, &kib)
	return kib << 10
}

// script writes wrk's: browser headers, and a fresh body for posts.
func (sv server) script(dir string) (path string, err error) {
	var b strings.Builder
	b.WriteString(`wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
wrk.headers["Accept"] = "*/*"
wrk.headers["Accept-Language"] = "de-DE,de;q=0.8,en;q=0.5"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
wrk.headers["Referer"] = "https://shop.example/"
wrk.headers["Origin"] = "https://shop.example"
wrk.headers["X-Forwarded-For"] = "8.8.8.8"
`)
	if sv.post {
		fmt.Fprintf(&b, "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"text/plain;charset=UTF-8\"\nwrk.body = %q\n", beaconBody())
	}
	path = filepath.Join(dir, "wrk.lua")
	return path, os.WriteFile(path, []byte(b.String()), 0o644)
}

func beaconBody() string {
	now := time.Now()
	return fmt.Sprintf(`{"site":"demo","sent_at":%d,"language":"de-DE","screen_w":1536,"screen_h":864,`+
		`"viewport_w":1280,"viewport_h":720,"session_id":"0123456789abcdef","timezone":"Europe/Berlin",`+
		`"events":[{"event_id":"%s","type":"pageview","url":"https://shop.example/shoes/red?utm_source=may",`+
		`"title":"Red shoes","referrer":"https://www.google.de/","pageview_id":"fedcba9876543210",`+
		`"props":{"plan":"pro","items":3,"variant":"b"}}]}`, now.UnixMilli(), event.NewUUID(now))
}

// errNothing is a side that runs and gives no answer.
var errNothing = errors.New("answers nothing")

// load is what wrk says.
type load struct {
	rate, failed float64 // requests a second; those answered otherwise than 2xx
	p50, p99     float64 // milliseconds
}

func (sv server) load(ctx context.Context, r *running, clients, seconds int) (l load, err error) {
	script, err := sv.script(r.dir)
	if err != nil {
		return l, err
	}
	out, err := exec.CommandContext(ctx, "taskset", "-c", "1", "wrk", "-t1", fmt.Sprintf("-c%d", clients),
		fmt.Sprintf("-d%ds", seconds), "--timeout", "10s", "--latency", "-s", script, "http://"+r.addr+sv.path).CombinedOutput()
	if err != nil {
		return l, fmt.Errorf("wrk: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "Requests/sec:":
			fmt.Sscan(f[1], &l.rate)
		case len(f) == 2 && f[0] == "50%":
			l.p50 = milliseconds(f[1])
		case len(f) == 2 && f[0] == "99%":
			l.p99 = milliseconds(f[1])
		case strings.HasPrefix(line, "  Non-2xx"):
			var n float64
			fmt.Sscan(f[len(f)-1], &n)
			l.failed = n / float64(seconds)
		}
	}
	if l.rate == 0 {
		return l, fmt.Errorf("%s %w: %s", sv.name, errNothing, out)
	}
	return l, nil
}

func milliseconds(s string) float64 {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return float64(d) / float64(time.Millisecond)
}
