package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	embeddedVersion = embeddedpostgres.V18
	embeddedMajor   = 18
	// fetchLimit bounds a download that hangs: the library sets no timeout itself.
	fetchLimit = 15 * time.Minute
)

// embeddedInstallation returns the PostgreSQL 18 of the machine's cache and fetches it first where
// the cache has none. One fetch serves every data directory and every later start.
func embeddedInstallation(ctx context.Context, as *account, say io.Writer) (installation, error) {
	cache, err := cacheDir()
	if err != nil {
		return installation{}, err
	}
	home := filepath.Join(cache, "postgres-"+string(embeddedVersion))
	if inst, err := inspect(ctx, filepath.Join(home, "bin"), as); err == nil {
		return inst, nil
	}
	if err := fetchInto(ctx, home, as, say); err != nil {
		return installation{}, fmt.Errorf("download PostgreSQL %s: %w", embeddedVersion, err)
	}
	return inspect(ctx, filepath.Join(home, "bin"), as)
}

// cacheDir is the user's cache. Root's is closed to the user that PostgreSQL runs as, so root uses
// the machine's.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/footfall", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory: %w", err)
	}
	return filepath.Join(dir, "footfall"), nil
}

func fetchInto(ctx context.Context, home string, as *account, say io.Writer) error {
	cache := filepath.Dir(home)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	sweepFetches(cache)
	// Beside the final place, so that the rename is atomic.
	temp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	unpacked := filepath.Join(temp, "postgres")
	if err := awaitUnpack(ctx, temp, unpacked, say); err != nil {
		return err
	}
	if err := makeReadable(cache, unpacked); err != nil {
		return err
	}
	// temp itself is closed to others, so ask for the version as ourselves.
	if _, err := inspect(ctx, filepath.Join(unpacked, "bin"), nil); err != nil {
		return fmt.Errorf("check what was unpacked: %w", err)
	}
	if _, err := inspect(ctx, filepath.Join(home, "bin"), as); err == nil {
		return nil // another process was faster
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	return os.Rename(unpacked, home)
}

func awaitUnpack(ctx context.Context, temp, unpacked string, say io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	began := time.Now()
	fmt.Fprintf(say, "fetching PostgreSQL %s, once for this machine …\n", embeddedVersion)
	result := make(chan error, 1)
	go func() { result <- unpack(temp, unpacked) }()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-result:
			if err == nil {
				fmt.Fprintf(say, "fetched PostgreSQL %s in %.0f s\n",
					embeddedVersion, time.Since(began).Seconds())
			}
			return err
		case <-tick.C:
			fmt.Fprintf(say, "fetching PostgreSQL %s: %.0f s\n",
				embeddedVersion, time.Since(began).Seconds())
		case <-ctx.Done():
			// The library cannot be stopped; the next fetch sweeps what it still writes.
			return ctx.Err()
		}
	}
}

// unpack uses the library for nothing but its download. Its Start also wipes a data directory whose
// version it does not like, and runs a server of its own; so it gets throw-away paths, and a locale
// that no system has, on which its initdb gives up (as root it refuses before that). That comes
// after the unpacking, and then the library has made its runtime directory.
//
// It panics where a file it wrote is gone, which is what a cancelled fetch does to it.
func unpack(temp, unpacked string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("unpack: %v", v)
		}
	}()
	port, err := freePort()
	if err != nil {
		return err
	}
	runtime := filepath.Join(temp, "runtime")
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedVersion).
		Port(uint32(port)).
		CachePath(filepath.Join(temp, "archive")).
		BinariesPath(unpacked).
		RuntimePath(runtime).
		DataPath(filepath.Join(temp, "data")).
		Locale("footfall-wants-no-server").
		Logger(io.Discard))
	err = server.Start()
	if err == nil {
		return server.Stop()
	}
	if _, statErr := os.Stat(runtime); statErr == nil {
		return nil
	}
	return err
}

// makeReadable opens the files to the user that PostgreSQL runs as, whatever our umask is.
func makeReadable(cache, unpacked string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chmod(cache, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(unpacked, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if d.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// sweepFetches removes what fetches of dead processes left behind. A live one is never this old.
func sweepFetches(cache string) {
	old, _ := filepath.Glob(filepath.Join(cache, "fetch-*"))
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 4*fetchLimit {
			os.RemoveAll(dir)
		}
	}
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}
