// Command registry is distribution's registry with the drivers that Wharfinger uses. It has a
// healthcheck command, because the image holds no other program.
package main

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/registry"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"

	// S3 over TLS needs root certificates, and the image has none. These are used only if the
	// system has none, so mounted certificates take effect.
	_ "golang.org/x/crypto/x509roots/fallback"
)

const healthURL = "http://127.0.0.1:5001/debug/health"

func healthcheck(_ *cobra.Command, _ []string) error {
	client := &http.Client{Timeout: 4 * time.Second}
	response, err := client.Get(healthURL)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", healthURL, response.Status)
	}
	return nil
}

// output writes the log to standard error and never waits. Standard error is docker's pipe, which
// nobody reads while dockerd is stopped. While it is full, lines are dropped and counted.
type output struct{ lost prometheus.Counter }

func (o output) Write(line []byte) (int, error) {
	if _, err := os.Stderr.Write(line); err != nil {
		o.lost.Inc()
	}
	return len(line), nil
}

// neverWait is for a serving registry only: the output of other commands must be complete.
func neverWait(_ *cobra.Command, _ []string) {
	for _, descriptor := range []int{syscall.Stdout, syscall.Stderr} {
		if err := syscall.SetNonblock(descriptor, true); err != nil {
			fmt.Fprintln(os.Stderr, "writing the log may delay requests:", err)
		}
	}
	lost := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wharfinger_registry_log_lines_lost_total",
		Help: "Lines dropped because standard error, docker's pipe, was full.",
	})
	prometheus.MustRegister(lost)
	logrus.SetOutput(output{lost})
}

func main() {
	registry.ServeCmd.PreRun = neverWait
	registry.RootCmd.AddCommand(&cobra.Command{
		Use:          "healthcheck",
		Short:        "`healthcheck` asks the debug listener whether the registry is healthy",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         healthcheck,
	})
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}
