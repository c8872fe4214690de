package sink

import (
	"fmt"

	"footfall/scripts/torture.d/seeds"
)

// total is the sum over all seeds.
type total struct {
	Seeds, Bad                       int
	Records, Expected, Rows          int
	Duplicates, Dead                 int
	Lost, Doubled, Altered, Invented int
	DeadWrong                        int
	RSSMax                           int64
	HealingMax, Hours                float64
	Faults                           map[string]int
}

func sum(all []verdict) total {
	t := total{Seeds: len(all), Faults: map[string]int{}}
	for _, v := range all {
		if v.Bad() {
			t.Bad++
		}
		t.Records += v.Records
		t.Expected += v.Expected
		t.Rows += v.Rows
		t.Duplicates += v.Duplicates
		t.Dead += v.Dead
		t.Lost += v.Lost
		t.Doubled += v.Doubled
		t.Altered += v.Altered
		t.Invented += v.Invented
		t.DeadWrong += v.DeadWrong
		t.RSSMax = max(t.RSSMax, v.RSSMax)
		t.HealingMax = max(t.HealingMax, v.Healing)
		t.Hours += v.Seconds / 3600
		for _, f := range v.Faults {
			t.Faults[f]++
		}
	}
	return t
}

// Line is the sum on a line.
func (t total) Line() string {
	faults := 0
	for _, n := range t.Faults {
		faults += n
	}
	return fmt.Sprintf("%d seeds, %d faults, %d records of %d events: %d rows, %d duplicates, %d dead letters; "+
		"%d lost, %d double, %d altered, %d invented, %d dead letters wrong; most memory %d MiB; "+
		"healed within %.0f s; %d bad seeds", t.Seeds, faults, t.Records, t.Expected, t.Rows, t.Duplicates,
		t.Dead, t.Lost, t.Doubled, t.Altered, t.Invented, t.DeadWrong, t.RSSMax>>20, t.HealingMax, t.Bad)
}

// Wrong reports whether a seed was bad, or none was tried.
func (t total) Wrong() bool { return t.Seeds == 0 || t.Bad > 0 }

// Section is the sum for the page.
func (t total) Section(command string) string {
	return fmt.Sprintf(section, command, seeds.Today(), t.Hours, t.Seeds, t.Records, t.Expected, t.Rows, t.Lost,
		t.Doubled, t.Altered, t.Invented, t.Duplicates, t.Dead, t.DeadWrong, t.RSSMax>>20, t.HealingMax,
		t.Bad) + seeds.Count(t.Faults)
}

const section = "`%s` on %s: %.1f hours on two cores.\n" + `
| | |
|---|---|
| seeds | %d |
| records in the topic | %d |
| events that had to become rows | %d |
| rows | %d |
| events lost | %d |
| events that are two rows | %d |
| rows with another content than was sent | %d |
| rows that nobody sent | %d |
| records left out as duplicates | %d |
| dead letters | %d |
| of these missing, too many, for another reason or with other bytes | %d |
| most memory of a sink | %d MiB |
| longest way from the last fault to the last row | %.0f s |
| seeds that went wrong | %d |

`
