package parts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a cluster of scripts/kafka.
type Kafka struct {
	Script, Dir string // scripts/kafka and its --dir
	Addresses   string // of the brokers, with commas
}

// Seeds is the addresses one by one.
func (k Kafka) Seeds() []string { return strings.Split(k.Addresses, ",") }

// Do runs a command of scripts/kafka on brokers.
func (k Kafka) Do(ctx context.Context, command string, brokers ...int) error {
	args := []string{command}
	for _, n := range brokers {
		args = append(args, strconv.Itoa(n))
	}
	cmd := exec.CommandContext(ctx, k.Script, append(args, "--dir", k.Dir)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kafka %s %v: %w: %s", command, brokers, err, out)
	}
	return nil
}

// Hold stops a broker's process until release is called.
func (k Kafka) Hold(broker int) (release func(), err error) {
	b, err := os.ReadFile(filepath.Join(k.Dir, strconv.Itoa(broker), "pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, err
	}
	return func() { syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, syscall.SIGSTOP)
}

// DeleteTopic deletes a topic.
func (k Kafka) DeleteTopic(ctx context.Context, name string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Seeds()...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = kadm.NewClient(client).DeleteTopic(ctx, name)
	return err
}
