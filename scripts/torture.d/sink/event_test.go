package sink

import (
	"math/rand/v2"
	"testing"

	"footfall/event"
)

func TestNumbersAreWrittenAsNumericDoes(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "-0": "0", "1.50": "1.50", "1e3": "1000",
		"1.5e3": "1500", "1.50E1": "15.0", "-2.50E-3": "-0.00250", "0e5": "0", "12e-1": "1.2", "-7": "-7"} {
		if got := plain(in); got != want {
			t.Errorf("%s is written %s, want %s", in, got, want)
		}
	}
}

func TestKeysAreInJSONBsOrder(t *testing.T) {
	const in, want = `{"bb":[1,{"ä":"\u0001\"\n"}],"c":null,"aaa":true}`,
		`{"c": null, "bb": [1, {"ä": "\u0001\"\n"}], "aaa": true}`
	if got := jsonb([]byte(in)); got != want {
		t.Errorf("%s is written %s, want %s", in, got, want)
	}
}

// TestEventsSurviveTheirWire holds that what the load sends is what it expects back.
func TestEventsSurviveTheirWire(t *testing.T) {
	var d event.Decoder
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		e := newEvent(r)
		got, refusal := d.Record(e.AppendJSON(nil))
		if refusal != nil {
			t.Fatalf("%s: %v", e.AppendJSON(nil), refusal)
		}
		if sent, back := string(line(nil, e)), string(line(nil, got)); sent != back {
			t.Fatalf("sent %q\nback %q", sent, back)
		}
	}
}

func TestPoisonIsOfEachFate(t *testing.T) {
	var d event.Decoder
	r := rand.New(rand.NewPCG(1, 1))
	rows, undecodable, refused := 0, 0, 0
	for _, p := range poisons(true) {
		switch _, f := p.make(r, &d); {
		case !f.dead:
			rows++
		case f.sqlstate == "":
			undecodable++
		default:
			refused++
		}
	}
	t.Logf("%d rows, %d undecodable, %d for the database to refuse", rows, undecodable, refused)
	if rows < 10 || undecodable < 30 || refused < 5 {
		t.Errorf("%d rows, %d undecodable, %d for the database to refuse", rows, undecodable, refused)
	}
}

// TestPlansRepeat holds that a seed is a schedule.
func TestPlansRepeat(t *testing.T) {
	s := settings{records: 1000, load: 1e9}
	seen := map[string]bool{}
	for seed := range uint64(50) {
		a, b := newPlan(s, seed, true).String(), newPlan(s, seed, true).String()
		if a != b {
			t.Errorf("seed %d is\n%s\nand then\n%s", seed, a, b)
		}
		seen[a] = true
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 seeds differ", len(seen))
	}
}
