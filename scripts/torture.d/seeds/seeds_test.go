package seeds

import "testing"

func TestASectionReplacesOnlyItself(t *testing.T) {
	page := replaceSection("", "collector", "one\n")
	page = replaceSection(page, "sink", "two\n")
	page = replaceSection(page, "collector", "three\n")
	want := title + "\n## collector\n\nthree\n\n## sink\n\ntwo\n"
	if page != want {
		t.Errorf("page is %q, want %q", page, want)
	}
	if again := replaceSection(page, "sink", "two\n"); again != want {
		t.Errorf("the same section again makes %q", again)
	}
}
