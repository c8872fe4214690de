package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"footfall/sink/postgres/pgtest"
)

// A retention that nobody carries out, or accounts that nobody adds up, must not be known
// to the log alone.
func TestWhatIsNotTidyIsAWarningUntilItIs(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	s := openAt(t, member(t, owner, "footfall_ingest"))
	pgtest.Exec(t, owner, "revoke execute on function footfall.fold from footfall_ingest")
	unreadable := errors.New("footfall.yaml: line 3")
	for _, c := range []struct {
		retention func() (Retention, error)
		want      []string
	}{
		{nil, []string{"add up accounts"}},
		{func() (Retention, error) { return Retention{}, unreadable }, []string{"line 3", "add up accounts"}},
		{func() (Retention, error) { return Retention{Sites: map[string]time.Duration{"shop": time.Hour}}, nil },
			[]string{"footfall_eraser", "add up accounts"}},
	} {
		s.retention = c.retention
		s.tidy(t.Context(), time.Now())
		w := s.Warning()
		for _, say := range c.want {
			if w == nil || !strings.Contains(w.Error(), say) {
				t.Errorf("warning is %v, want one that says %q", w, say)
			}
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if s.tidy(ended, time.Now()); s.Warning() == nil {
		t.Error("a tidying that was broken off ends the warning")
	}
	pgtest.Exec(t, owner, "grant execute on function footfall.fold to footfall_ingest")
	s.retention = nil
	if s.tidy(t.Context(), time.Now()); s.Warning() != nil {
		t.Errorf("warning is %v after all was tidied", s.Warning())
	}
}
