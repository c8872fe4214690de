package mongo

import (
	"errors"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

func TestErrorsAboutOneDocument(t *testing.T) {
	for _, c := range []struct {
		code    int
		message string
		want    verdict
	}{
		{11000, `E11000 duplicate key error collection: footfall.events index: _id_ dup key: { _id: UUID("…") }`, duplicate},
		{11000, `E11000 duplicate key error collection: footfall.events index: user_id_1 dup key: { user_id: "7" }`, refuses},
		{11000, `E11000 duplicate key error`, duplicate},
		{121, "Document failed validation", refuses},
		{10334, "object to insert too large", refuses},
		{11600, "interrupted at shutdown", trouble},
		{14031, "out of disk space", trouble},
		{13, "not authorized", trouble},
	} {
		if got := judge(mongo.WriteError{Code: c.code, Message: c.message}); got != c.want {
			t.Errorf("%d %s: %d, want %d", c.code, c.message, got, c.want)
		}
	}
}

// TestAMajorityThatIsMissingIsNoDuplicate: errors about documents come beside the one
// that no majority has them, and must not hide it.
func TestAMajorityThatIsMissingIsNoDuplicate(t *testing.T) {
	taken := []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 11000, Message: "index: _id_ dup key"}}}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{mongo.BulkWriteException{WriteErrors: taken}, true},
		{fmt.Errorf("insert: %w", mongo.BulkWriteException{WriteErrors: taken}), true},
		{mongo.BulkWriteException{WriteErrors: taken, WriteConcernError: &mongo.WriteConcernError{Code: 64}}, false},
		{mongo.BulkWriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, false},
		{mongo.BulkWriteException{WriteErrors: append([]mongo.BulkWriteError{{
			WriteError: mongo.WriteError{Code: 14031}}}, taken...)}, false},
		{errors.New("connection reset"), false},
	} {
		if got := onlyDuplicates(c.err); got != c.want {
			t.Errorf("%v: %t, want %t", c.err, got, c.want)
		}
	}
}
