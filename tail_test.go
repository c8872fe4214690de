package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTailEndsAfterTheNumberOfRecordsAskedFor(t *testing.T) {
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 100 {
			fmt.Fprintf(w, "{\"n\":%d}\n", i)
		}
	}))
	defer admin.Close()
	dir := t.TempDir()
	b, err := json.Marshal(upFile{Admin: admin.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "up.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	clean(t)
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"tail", "--data", dir, "-n", "3"}, &out, &errs); status != exitOK {
		t.Errorf("status %d: %s", status, &errs)
	}
	if got := strings.Fields(out.String()); len(got) != 3 || got[2] != `{"n":2}` {
		t.Errorf("printed %q, want three records", got)
	}
}
