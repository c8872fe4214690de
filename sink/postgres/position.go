package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Positions returns the next offset of each partition in starts. A partition without
// one gets the offset in starts, in the row that Write compares and sets: where its log
// starts. What lay before was gone before anybody came, which is said once.
//
// It waits for no lock of a batch's: ON CONFLICT alone would, for an update that is not
// committed yet, and so for ever for a sink that has stopped. What is read is the last that
// was committed; Write compares, waits for the other there, and ends one that has stopped.
func (s *Store) Positions(ctx context.Context, cluster, topic string, topicID [16]byte,
	starts map[int32]int64) (map[int32]int64, error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	partitions := slices.Sorted(maps.Keys(starts))
	offsets := make([]int64, len(partitions))
	for i, p := range partitions {
		offsets[i] = starts[p]
	}
	rows, err := s.pool.Query(ctx, `insert into footfall.sink_offsets
		(cluster_id, topic_id, topic, partition, first_offset, next_offset)
		select $1, $2, $3, p, start, start from unnest($4::int[], $5::bigint[]) x (p, start)
		where not exists (select from footfall.sink_offsets
			where cluster_id = $1 and topic_id = $2 and partition = p)
		order by p on conflict do nothing returning partition, next_offset`,
		cluster, topicID, topic, partitions, offsets)
	if err != nil {
		return nil, s.faultf(needs(err, roleIngest), "make positions")
	}
	var p int32
	var start int64
	if _, err := pgx.ForEachRow(rows, []any{&p, &start}, func() error {
		if start > 0 {
			s.log.Warn("records before the first position were gone before a sink came", "topic", topic,
				"partition", p, "position", start)
		}
		return nil
	}); err != nil {
		return nil, s.faultf(needs(err, roleIngest), "make positions")
	}
	return s.positions(ctx, cluster, topicID, partitions)
}

func (s *Store) positions(ctx context.Context, cluster string, topicID [16]byte,
	partitions []int32) (map[int32]int64, error) {
	rows, err := s.pool.Query(ctx, `select partition, next_offset from footfall.sink_offsets
		where cluster_id = $1 and topic_id = $2 and partition = any($3)`,
		cluster, topicID, partitions)
	if err != nil {
		return nil, s.faultf(needs(err, roleIngest), "read positions")
	}
	next := make(map[int32]int64, len(partitions))
	var p int32
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&p, &n}, func() error {
		next[p] = n
		return nil
	}); err != nil {
		return nil, s.faultf(needs(err, roleIngest), "read positions")
	}
	return next, nil
}
