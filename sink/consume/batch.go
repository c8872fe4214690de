package consume

import (
	"context"
	"errors"

	"footfall/event"
)

// ErrMoved says that a stored position is not where a batch begins: another
// consumer owns the partition now, or the batch was stored already. Nothing of
// the batch was written. The cure is to read the positions again.
var ErrMoved = errors.New("stored position moved")

// Record is one record of a partition. Key and Value may be nil. Origin is zero when the
// record does not say where it is from.
type Record struct {
	Offset     int64
	Key, Value []byte
	Origin     event.Origin
}

// Part is a run of records of one partition. It covers the offsets [From, To):
// From is the stored position, To the offset after the last record. Offsets may be
// absent in between (compaction, control records); Records is in offset order and
// not empty.
type Part struct {
	Partition int32
	From, To  int64
	Records   []Record
}

// Batch is what is stored in one transaction: at most one Part of each partition.
// Its memory belongs to the store until Write returns.
type Batch struct {
	ClusterID string
	Topic     string
	TopicID   [16]byte
	Parts     []Part
}

// Store keeps records and positions together. It is safe for concurrent use. Its calls end
// by themselves, with an error, also when whatever they ask never answers.
type Store interface {
	// Positions returns the next offset of each partition in starts, which has where
	// its log starts at present. That is the position of a partition that has none yet,
	// from now on: it is stored before Positions returns, and never by a later call.
	Positions(ctx context.Context, cluster, topic string, topicID [16]byte,
		starts map[int32]int64) (map[int32]int64, error)
	// Write stores records and moves their positions in one transaction, from From
	// to To. On an error nothing is stored (or, if the store had to split the batch,
	// its beginning): ErrMoved, or one after which the same batch may be written
	// again, which then is stored once or gives ErrMoved. An error that has a method
	// Pause() time.Duration is not worth another attempt before that.
	Write(ctx context.Context, b Batch) error
}

// Preparer is a Store that can do a part of Write beforehand, while an earlier batch
// of the same partitions is still being written: it decodes.
type Preparer interface {
	Store
	// Prepare returns what then writes the batch, as Write does. It may be called
	// again after an error; calls do not overlap. The batch's memory belongs to the
	// store as long as there is one to come.
	Prepare(b Batch) (write func(context.Context) error)
}
