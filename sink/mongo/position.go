package mongo

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"footfall/event"
	"footfall/sink/consume"
)

// positionID is readable, so that a person can find it and move it.
func positionID(cluster string, topicID [16]byte, partition int32) string {
	return fmt.Sprintf("%s/%s/%d", cluster, event.UUID(topicID), partition)
}

// Positions returns the next offset of each partition in starts. A partition without
// one gets the offset in starts, in the document that Write compares and sets.
func (s *Store) Positions(ctx context.Context, cluster, topic string, topicID [16]byte,
	starts map[int32]int64) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	partitions := map[string]int32{}
	ids := make([]string, 0, len(starts))
	makes := make([]mongo.WriteModel, 0, len(starts))
	for p, start := range starts {
		id := positionID(cluster, topicID, p)
		partitions[id] = p
		ids = append(ids, id)
		makes = append(makes, mongo.NewUpdateOneModel().SetUpsert(true).
			SetFilter(bson.D{{Key: "_id", Value: id}}).
			SetUpdate(bson.D{{Key: "$setOnInsert", Value: bson.D{
				{Key: "cluster_id", Value: cluster},
				{Key: "topic", Value: topic},
				{Key: "topic_id", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: topicID[:]}},
				{Key: "partition", Value: p},
				{Key: "next_offset", Value: start},
				{Key: "began_at", Value: time.Now()},
			}}}))
	}
	if len(makes) == 0 {
		return map[int32]int64{}, nil
	}
	// Two sinks that make the same one: one of them is told that the key is taken.
	_, err := s.positions.BulkWrite(ctx, makes, options.BulkWrite().SetOrdered(false))
	if err != nil && !onlyDuplicates(err) {
		return nil, fmt.Errorf("make positions: %w", err)
	}
	cursor, err := s.positions.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	var found []struct {
		ID   string `bson:"_id"`
		Next int64  `bson:"next_offset"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	next := make(map[int32]int64, len(found))
	for _, f := range found {
		next[partitions[f.ID]] = f.Next
	}
	if len(next) < len(starts) {
		return nil, fmt.Errorf("read positions: %d of %d are there", len(next), len(starts))
	}
	return next, nil
}

// move moves the positions of a batch whose records are stored, or returns
// consume.ErrMoved when one of them is not where the batch begins.
func (s *Store) move(ctx context.Context, b consume.Batch) error {
	moves := make([]mongo.WriteModel, len(b.Parts))
	for i, p := range b.Parts {
		moves[i] = mongo.NewUpdateOneModel().
			SetFilter(bson.D{
				{Key: "_id", Value: positionID(b.ClusterID, b.TopicID, p.Partition)},
				{Key: "next_offset", Value: p.From}}).
			SetUpdate(bson.D{
				{Key: "$set", Value: bson.D{{Key: "next_offset", Value: p.To}}},
				{Key: "$currentDate", Value: bson.D{{Key: "moved_at", Value: true}}}})
	}
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	r, err := s.positions.BulkWrite(ctx, moves, options.BulkWrite().SetOrdered(false))
	switch {
	case err != nil:
		return fmt.Errorf("move positions: %w", err)
	case r.MatchedCount < int64(len(moves)):
		return consume.ErrMoved
	}
	return nil
}
