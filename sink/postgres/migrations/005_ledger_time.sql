-- footfall.fold() asks every ten minutes for lines of more than a week ago, and there are
-- few beside those of the week: a busy sink writes some 60 a second. Without an index it reads
-- them all. A B-tree and no BRIN: what folding frees is filled with new lines, so a block does
-- not stay of one time. Costs a microsecond a line, of which a batch of 10,000 rows has one to
-- three; 21 MB and half a second to make for a million lines, while the sinks wait.
create index ledger_committed_at on footfall.ledger (committed_at);
