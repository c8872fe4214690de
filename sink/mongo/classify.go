package mongo

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

const duplicateKey = 11000

// refusals are the codes by which a server says that it will never take a document.
// A code that is not here is the server's trouble: the batch is written again.
var refusals = []int{
	2,     // BadValue
	9,     // FailedToParse
	14,    // TypeMismatch
	15,    // Overflow: nests too deep
	22,    // InvalidBSON
	52,    // DollarPrefixedFieldName: before MongoDB 5
	53,    // InvalidIdField
	55,    // InvalidDBRef
	56,    // EmptyFieldName
	57,    // DottedFieldName
	121,   // DocumentValidationFailure: a validator of the collection
	171,   // CannotIndexParallelArrays: an index of somebody else
	10334, // BSONObjectTooLarge
	16755, // cannot extract geo keys
	17280, // KeyTooLong
}

// verdict is what a server's error about one document means.
type verdict byte

const (
	trouble   verdict = iota // it may take it later
	duplicate                // it has it
	refuses                  // it never takes it
)

func judge(e mongo.WriteError) verdict {
	switch {
	case e.Code == duplicateKey && foreignIndex(e.Message):
		return refuses
	case e.Code == duplicateKey:
		return duplicate
	case slices.Contains(refusals, e.Code):
		return refuses
	}
	return trouble
}

// foreignIndex reports whether a key is taken in an index that is not _id's: then the
// event is not stored.
func foreignIndex(message string) bool {
	_, index, named := strings.Cut(message, "index: ")
	return named && !strings.HasPrefix(index, "_id_ ")
}
