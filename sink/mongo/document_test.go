package mongo

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"footfall/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

// document makes the document of a record, and holds it against the driver's reader.
func document(t testing.TB, record []byte) (bson.Raw, *event.Event) {
	t.Helper()
	e, refusal := new(event.Decoder).Record(record)
	if refusal != nil {
		t.Fatalf("%s: %v", record, refusal)
	}
	b, err := new(encoder).appendDocument([]byte("before"), e)
	if err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	doc := bson.Raw(b[len("before"):])
	if err := doc.Validate(); err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	return doc, e
}

// TestEveryTypeIsADocumentAsInItsGoldenFile begins with the wire's own golden records.
func TestEveryTypeIsADocumentAsInItsGoldenFile(t *testing.T) {
	for _, typ := range event.Types {
		record, err := os.ReadFile(filepath.Join("..", "..", "event", "testdata", string(typ)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		doc, _ := document(t, record)
		got, err := bson.MarshalExtJSONIndent(doc, true, false, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", string(typ)+".json")
		got = append(got, '\n')
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is\n%s\nwant\n%s", typ, got, want)
		}
	}
}

// record returns a record with these members beside the required ones.
func record(members string) []byte {
	id := event.NewUUID(time.UnixMilli(1763844000123))
	return fmt.Appendf(nil, `{"event_id":%q,"schema":1,"site":"shop","type":"custom","occurred_at":%d,`+
		`"received_at":1763844000400,"clock":"client","bot":false,"transport":"beacon","gpc":false%s}`,
		id, id.Time().UnixMilli(), members)
}

func TestNumbersAreHeldExactly(t *testing.T) {
	for text, want := range map[string]string{
		"0": "NumberLong 0", "-0": "NumberLong 0", "0e5": "NumberLong 0", "1": "NumberLong 1",
		"1.0": "NumberLong 1", "1e3": "NumberLong 1000", "120e-1": "NumberLong 12",
		"9223372036854775807":  "NumberLong 9223372036854775807",
		"-9223372036854775808": "NumberLong -9223372036854775808",
		"9223372036854775808":  "Decimal 9223372036854775808",
		"0.1":                  "Double 0.1", "-1.50": "Double -1.5", "1e300": "Double 1e+300",
		"5e-308": "Double 5e-308", "1e-308": "Double 1e-308",
		"0.12345678901234567890":                   "Decimal 0.1234567890123456789",
		"99e308":                                   "Decimal 9.9E+309",
		"12345678901234567890123456789012345678":   "Text 12345678901234567890123456789012345678e0",
		"-1.2345678901234567890123456789012345678": "Text -12345678901234567890123456789012345678e-37",
	} {
		doc, _ := document(t, record(`,"props":{"n":`+text+`}`))
		v := doc.Lookup("props", "n")
		var got string
		switch v.Type {
		case bson.TypeInt64:
			got = fmt.Sprint("NumberLong ", v.Int64())
		case bson.TypeDouble:
			got = fmt.Sprint("Double ", v.Double())
		case bson.TypeDecimal128:
			got = fmt.Sprint("Decimal ", v.Decimal128())
		case bson.TypeString:
			got = fmt.Sprint("Text ", v.StringValue())
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

// TestKeysOfPropsStayAsTheyCame: MongoDB takes these since version 5.
func TestKeysOfPropsStayAsTheyCame(t *testing.T) {
	doc, _ := document(t, record(`,"props":{"$ref":1,"a.b":{"$date":"x","":null},"ключ":[],"_id":true}`))
	want := `{"$ref": {"$numberLong":"1"},"a.b": {"$date": "x","": null},"ключ": [],"_id": true}`
	var got []string
	elements, err := doc.Lookup("props").Document().Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		got = append(got, e.Key())
	}
	if fmt.Sprint(got) != "[$ref a.b ключ _id]" {
		t.Errorf("keys are %q, want those of %s", got, want)
	}
	inner := doc.Lookup("props", "a.b").Document()
	if inner.Lookup("$date").StringValue() != "x" || inner.Lookup("").Type != bson.TypeNull {
		t.Errorf("inner document is %s", inner)
	}
}

func TestAnAddressHasOneFormAndWhatIsNoneIsRefused(t *testing.T) {
	for text, want := range map[string]string{"2001:DB8:0::1": "2001:db8::1", "fe80::1%eth0": "fe80::1",
		"::ffff:1.2.3.4": "::ffff:1.2.3.4", "192.0.2.7": "192.0.2.7"} {
		doc, _ := document(t, record(fmt.Sprintf(`,"ip":%q`, text)))
		if got := doc.Lookup("ip").StringValue(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	e, refusal := new(event.Decoder).Record(record(`,"ip":"somewhere"`))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, err := new(encoder).appendDocument(nil, e); err == nil {
		t.Error("somewhere is taken for an address")
	}
}

func TestRevenueKeepsItsDigits(t *testing.T) {
	for text, want := range map[string]string{"12.50": "12.50", "-0.00": "0.00", "0": "0",
		"-999999999999999.999999": "-999999999999999.999999"} {
		doc, _ := document(t, record(`,"revenue":`+text))
		if got := doc.Lookup("revenue").Decimal128().String(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

// FuzzDocument: what the decoder takes is a document that the driver can read, with the
// same values. The second reader of a record is encoding/json.
func FuzzDocument(f *testing.F) {
	for _, typ := range event.Types {
		if b, err := os.ReadFile(filepath.Join("..", "..", "event", "testdata", string(typ)+".json")); err == nil {
			f.Add(b)
		}
	}
	f.Add(record(`,"props":{"$a.b":[1,-2.5e-3,{"":null}],"n":12345678901234567890123},"bot_reasons":["a","b"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, refusal := new(event.Decoder).Record(b)
		if refusal != nil {
			return
		}
		out, err := new(encoder).appendDocument(nil, e)
		if err != nil {
			return // no address
		}
		doc := bson.Raw(out)
		if err := doc.Validate(); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		compareFields(t, doc, e)
	})
}

func compareFields(t *testing.T, doc bson.Raw, e *event.Event) {
	t.Helper()
	if _, id, _ := doc.Lookup("_id").BinaryOK(); !bytes.Equal(id, e.EventID[:]) {
		t.Errorf("_id is %x", id)
	}
	var wire map[string]any
	d := json.NewDecoder(bytes.NewReader(e.AppendJSON(nil)))
	d.UseNumber()
	if err := d.Decode(&wire); err != nil {
		t.Fatal(err)
	}
	delete(wire, "event_id")
	elements, err := doc.Elements()
	if err != nil {
		t.Fatal(err)
	}
	if len(elements)-1 != len(wire) {
		t.Errorf("%d fields, want %d", len(elements)-1, len(wire))
	}
	for name, want := range wire {
		if name != "ip" && !same(doc.Lookup(name), want) {
			t.Errorf("%s is %s, want %v", name, doc.Lookup(name), want)
		}
	}
}

// same compares a value with what encoding/json made of it, numbers by value.
func same(v bson.RawValue, want any) bool {
	switch want := want.(type) {
	case nil:
		return v.Type == bson.TypeNull
	case bool:
		got, ok := v.BooleanOK()
		return ok && got == want
	case string:
		got, ok := v.StringValueOK()
		return ok && got == want
	case json.Number:
		return sameNumber(v, string(want))
	case []any:
		a, ok := v.ArrayOK()
		if !ok {
			return false
		}
		values, err := a.Values()
		if err != nil || len(values) != len(want) {
			return false
		}
		for i := range want {
			if !same(values[i], want[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		elements, err := v.Document().Elements()
		if err != nil || len(elements) != len(want) {
			return false
		}
		for _, e := range elements {
			if w, there := want[e.Key()]; !there || !same(e.Value(), w) {
				return false
			}
		}
		return true
	}
	return false
}

func sameNumber(v bson.RawValue, want string) bool {
	var got string
	switch v.Type {
	case bson.TypeInt64:
		got = fmt.Sprint(v.Int64())
	case bson.TypeDateTime:
		got = fmt.Sprint(v.DateTime())
	case bson.TypeDouble:
		got = fmt.Sprint(v.Double())
	case bson.TypeDecimal128:
		got = v.Decimal128().String()
	case bson.TypeString:
		got = v.StringValue()
	}
	x, ok := new(big.Rat).SetString(got)
	y, fine := new(big.Rat).SetString(strings.Replace(want, "E", "e", 1))
	return ok && fine && x.Cmp(y) == 0
}

// TestDigestsDoNotDependOnTheFormOfTheSame: PostgreSQL gives props and addresses back in
// a form of its own.
func TestDigestsDoNotDependOnTheFormOfTheSame(t *testing.T) {
	base := record(`,"ip":"2001:DB8::0:1","revenue":-0.00,"props":{"b":[1.50,{"y":1,"x":null}],"a":1e3,"A":1e25}`)
	doc, e := document(t, base)
	var d Digester
	want, err := d.document(doc)
	if err != nil {
		t.Fatal(err)
	}
	e.IP, e.Revenue = "2001:db8::1", "0.00"
	e.Props = event.JSON(`{"A": 10000000000000000000000000, "a": 1000, "b": [1.50, {"x": null, "y": 1}]}`)
	e.OccurredAt, e.ReceivedAt = e.OccurredAt.Local(), e.ReceivedAt.Local()
	if got, err := d.Event(e); err != nil || got != want {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
	for _, change := range []func(*event.Event){
		func(e *event.Event) { e.Props = event.JSON(`{"A":1e25,"a":1000,"b":[{"x":null,"y":1},1.5]}`) },
		func(e *event.Event) { e.Title = "x" },
		func(e *event.Event) { e.GPC = true },
		func(e *event.Event) { e.ReceivedAt = e.ReceivedAt.Add(time.Millisecond) },
		func(e *event.Event) { e.EventID[15]++ },
	} {
		other := *e
		change(&other)
		if got, err := d.Event(&other); err != nil || got == want {
			t.Errorf("a changed event has the same digest, %v", err)
		}
	}
}
