package snippet

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"
)

// zip returns body as a gzip file, one percent shorter than `gzip -9` makes it: of all ways to
// write body down it looks for the shortest under the prices of the round before, as zopfli does.
// That takes some milliseconds for a snippet. All is one block: it is meant for no more than
// some ten kilobytes.
func zip(body []byte) []byte {
	found := findMatches(body)
	price := prices{}
	for i := range price.literal {
		price.literal[i] = 8
	}
	var best []byte
	for range rounds {
		steps := shortest(body, found, &price)
		block := steps.block()
		if best == nil || len(block) < len(best) {
			best = block
		}
		price = steps.prices()
	}
	file := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}, best...) // no name, no time
	file = binary.LittleEndian.AppendUint32(file, crc32.ChecksumIEEE(body))
	return binary.LittleEndian.AppendUint32(file, uint32(len(body)))
}

const (
	rounds   = 8
	shortMin = 3
	longMax  = 258
	window   = 32 << 10
	end      = 256 // the symbol behind the last step
)

// match is a text that has been there before: so many bytes, and how far back.
type match struct{ length, distance int }

// findMatches returns, of each place, the matches that begin there, longer and farther ones
// behind: of each length there is, the nearest.
func findMatches(body []byte) [][]match {
	found := make([][]match, len(body))
	places := map[[shortMin]byte][]int{}
	for at := range body {
		if len(body)-at < shortMin {
			break
		}
		key := [shortMin]byte(body[at:])
		longest := shortMin - 1
		for _, from := range slices.Backward(places[key]) {
			if at-from > window || longest == longMax {
				break
			}
			n := 0
			for n < longMax && at+n < len(body) && body[from+n] == body[at+n] {
				n++
			}
			if n > longest {
				longest = n
				found[at] = append(found[at], match{n, at - from})
			}
		}
		places[key] = append(places[key], at)
	}
	return found
}

// prices are what symbols cost, in bits: literals and lengths, and distances.
type prices struct {
	literal  [286]float64
	distance [30]float64
}

// steps are a way through a body. Each is a match, or a literal, whose distance is 0.
type steps struct {
	each     []match
	literal  [286]int // how often each symbol is met
	distance [30]int
}

// shortest returns the cheapest way.
func shortest(body []byte, found [][]match, price *prices) *steps {
	n := len(body)
	cost := make([]float64, n+1)
	last := make([]match, n+1) // the step that leads there
	for i := range cost[1:] {
		cost[i+1] = math.Inf(1)
	}
	for at := range n {
		if c := cost[at] + price.literal[body[at]]; c < cost[at+1] {
			cost[at+1], last[at+1] = c, match{1, 0}
		}
		length := shortMin
		for _, m := range found[at] {
			d, extra := distanceSymbol(m.distance)
			far := cost[at] + price.distance[d] + float64(extra)
			for ; length <= m.length; length++ {
				l, extra := lengthSymbol(length)
				if c := far + price.literal[l] + float64(extra); c < cost[at+length] {
					cost[at+length], last[at+length] = c, match{length, m.distance}
				}
			}
		}
	}
	way := &steps{}
	for at := n; at > 0; at -= last[at].length {
		step := last[at]
		if step.distance == 0 {
			step.length = int(body[at-1]) // from here on, which byte
			way.literal[step.length]++
		} else {
			l, _ := lengthSymbol(step.length)
			d, _ := distanceSymbol(step.distance)
			way.literal[l]++
			way.distance[d]++
		}
		way.each = append(way.each, step)
	}
	slices.Reverse(way.each)
	way.literal[end]++
	return way
}

// prices are those of an ideal code for the symbols as they were met. One that was not may come.
func (w *steps) prices() (p prices) {
	price := func(to []float64, counts []int) {
		total := 0
		for _, n := range counts {
			total += n
		}
		for i, n := range counts {
			to[i] = math.Log2(float64(max(total, 1)) / float64(max(n, 1)))
		}
	}
	price(p.literal[:], w.literal[:])
	price(p.distance[:], w.distance[:])
	return p
}

// block writes the steps as the last block, with codes of its own (RFC 1951, 3.2.7).
func (w *steps) block() []byte {
	literals, distances := codeLengths(w.literal[:], 15), codeLengths(w.distance[:], 15)
	var out bitWriter
	out.write(1|2<<1, 3)
	out.lengths(literals, distances)
	literal, distance := codes(literals), codes(distances)
	for _, step := range w.each {
		if step.distance == 0 {
			out.write(literal[step.length], literals[step.length])
			continue
		}
		l, extra := lengthSymbol(step.length)
		out.write(literal[l], literals[l])
		out.write(uint(step.length-shortMin)&(1<<extra-1), extra)
		d, extra := distanceSymbol(step.distance)
		out.write(distance[d], distances[d])
		out.write(uint(step.distance-1)&(1<<extra-1), extra)
	}
	out.write(literal[end], literals[end])
	return out.bytes()
}

// lengthSymbol returns a length's symbol, and how many bits of the length follow it.
func lengthSymbol(length int) (symbol, extra int) {
	if length == longMax {
		return 285, 0
	}
	symbol, extra = bucket(length-shortMin, 4)
	return 257 + symbol, extra
}

func distanceSymbol(distance int) (symbol, extra int) { return bucket(distance-1, 2) }

// bucket numbers buckets of which so many have the same size, and the next ones twice of it. The
// first have one number each.
func bucket(n, same int) (symbol, extra int) {
	if n < 2*same {
		return n, 0
	}
	extra = bits.Len(uint(n)) - bits.Len(uint(same))
	return n>>extra + extra*same, extra
}

// codeLengths returns the best lengths of a code in which none has more than limit bits: the
// package-merge algorithm. A symbol that is not met has none.
func codeLengths(counts []int, limit int) []int {
	type pack struct {
		weight  int
		symbols []int
	}
	var leaves []pack
	for symbol, n := range counts {
		if n > 0 {
			leaves = append(leaves, pack{n, []int{symbol}})
		}
	}
	lengths := make([]int, len(counts))
	if len(leaves) < 2 {
		for _, leaf := range leaves {
			lengths[leaf.symbols[0]] = 1
		}
		return lengths
	}
	lighter := func(a, b pack) int { return cmp.Compare(a.weight, b.weight) }
	slices.SortStableFunc(leaves, lighter)
	packs := leaves
	for range limit - 1 {
		var pairs []pack
		for pair := range slices.Chunk(packs, 2) {
			if len(pair) == 2 {
				pairs = append(pairs, pack{pair[0].weight + pair[1].weight,
					slices.Concat(pair[0].symbols, pair[1].symbols)})
			}
		}
		packs = slices.Concat(leaves, pairs)
		slices.SortStableFunc(packs, lighter)
	}
	for _, p := range packs[:2*len(leaves)-2] {
		for _, symbol := range p.symbols {
			lengths[symbol]++
		}
	}
	return lengths
}

// codes returns the canonical code of these lengths, each one's first bit the lowest.
func codes(lengths []int) []uint {
	all := make([]uint, len(lengths))
	var code uint
	for length := 1; length <= 15; length++ {
		for symbol, l := range lengths {
			if l == length {
				all[symbol] = uint(bits.Reverse16(uint16(code)) >> (16 - length))
				code++
			}
		}
		code <<= 1
	}
	return all
}

// bitWriter fills bytes from the lowest bit on.
type bitWriter struct {
	out  []byte
	bits uint
	n    int
}

func (w *bitWriter) write(value uint, n int) {
	w.bits |= value << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		return append(w.out, byte(w.bits))
	}
	return w.out
}

// lengths writes those of both codes, as a code of their own.
func (w *bitWriter) lengths(literals, distances []int) {
	literals, distances = trimmed(literals, end+1), trimmed(distances, 1)
	runs := runLengths(slices.Concat(literals, distances))
	counts := make([]int, 19)
	for _, r := range runs {
		counts[r.symbol]++
	}
	of := codeLengths(counts, 7)
	order := [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	n := len(order)
	for n > 4 && of[order[n-1]] == 0 {
		n--
	}
	w.write(uint(len(literals)-end-1), 5)
	w.write(uint(len(distances)-1), 5)
	w.write(uint(n-4), 4)
	for _, symbol := range order[:n] {
		w.write(uint(of[symbol]), 3)
	}
	code := codes(of)
	for _, r := range runs {
		w.write(code[r.symbol], of[r.symbol])
		w.write(r.more, r.extra)
	}
}

// trimmed leaves out the zeros at the end, but never goes below least.
func trimmed(lengths []int, least int) []int {
	n := len(lengths)
	for n > least && lengths[n-1] == 0 {
		n--
	}
	return lengths[:n]
}

// run is a symbol of the code for lengths: one of them, or how often to repeat.
type run struct {
	symbol int
	more   uint
	extra  int
}

func runLengths(lengths []int) (runs []run) {
	for i := 0; i < len(lengths); {
		n := 1
		for i+n < len(lengths) && lengths[i+n] == lengths[i] {
			n++
		}
		length := lengths[i]
		i += n
		if length > 0 {
			runs = append(runs, run{symbol: length})
			n--
		}
		for n >= 3 {
			part, again := min(n, 6), run{symbol: 16, extra: 2} // the one before
			switch {
			case length == 0 && n > 10:
				part, again = min(n, 138), run{symbol: 18, extra: 7}
				again.more = uint(part - 11)
			case length == 0:
				part, again = n, run{symbol: 17, extra: 3}
				again.more = uint(part - 3)
			default:
				again.more = uint(part - 3)
			}
			runs = append(runs, again)
			n -= part
		}
		for range n {
			runs = append(runs, run{symbol: length})
		}
	}
	return runs
}
