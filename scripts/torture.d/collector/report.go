package collector

import (
	"fmt"

	"footfall/scripts/torture.d/seeds"
)

// total is the sum over all seeds.
type total struct {
	Seeds, Bad                                int
	Sent, Acknowledged, InTopic               int
	Lost, Damaged, Invented, Altered, Doubled int
	RSSMax                                    int64
	Hours                                     float64
	Faults                                    map[string]int
}

func sum(all []verdict) total {
	t := total{Seeds: len(all), Faults: map[string]int{}}
	for _, v := range all {
		if v.Bad() {
			t.Bad++
		}
		t.Sent += v.Sent
		t.Acknowledged += v.Acknowledged
		t.InTopic += v.InTopic
		t.Lost += v.Lost
		t.Damaged += v.Damaged
		t.Invented += v.Invented
		t.Altered += v.Altered
		t.Doubled += v.Doubled
		t.RSSMax = max(t.RSSMax, v.RSSMax)
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
	return fmt.Sprintf("%d seeds, %d faults, %d events sent, %d acknowledged: %d lost, %d invented, %d altered; "+
		"%d destroyed on disk by the test and named, %d sent to Kafka twice; most memory %d MiB; %d bad seeds",
		t.Seeds, faults, t.Sent, t.Acknowledged, t.Lost, t.Invented, t.Altered, t.Damaged, t.Doubled,
		t.RSSMax>>20, t.Bad)
}

// Wrong reports whether a seed was bad, or none was tried.
func (t total) Wrong() bool { return t.Seeds == 0 || t.Bad > 0 }

// Section is the sum for the page.
func (t total) Section(command string) string {
	return fmt.Sprintf(section, command, seeds.Today(), t.Hours, t.Seeds, t.Sent, t.Acknowledged,
		t.Lost, t.Damaged, t.Invented, t.Altered, t.Doubled, t.RSSMax>>20, t.Bad) + seeds.Count(t.Faults)
}

const section = "`%s` on %s: %.1f hours on two cores.\n" + `
| | |
|---|---|
| seeds | %d |
| events sent | %d |
| events answered 2xx | %d |
| of these lost | %d |
| of these destroyed on disk by the test itself, each named by spool verify | %d |
| events in the topic that nobody sent | %d |
| events in the topic with another payload | %d |
| events that went to Kafka more than once (the sink makes one row of them) | %d |
| most memory of a collector | %d MiB |
| seeds that went wrong | %d |

`
