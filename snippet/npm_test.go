package snippet_test

import (
	"bytes"
	"os"
	"testing"

	"footfall/snippet"
)

// TestThePackageIsTheSource holds npm/index.js, which is committed, to the source.
func TestThePackageIsTheSource(t *testing.T) {
	t.Parallel()
	module, err := snippet.Module()
	if err != nil {
		t.Fatal(err)
	}
	const file = "npm/index.js"
	if *update {
		if err := os.WriteFile(file, module, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, module) {
		t.Errorf("%s is of another source; renew it by: go test ./snippet -update", file)
	}
}
