package main

import (
	"fmt"
	"html"
	"strings"
)

// svg draws the sides as bars, each with its spread.
func (r report) svg() string {
	return bars(fmt.Sprintf("Requests a second on one core, %d connections", clients), r.Sides, r.Ratios)
}

func bars(title string, sides []side, ratios []ratio) string {
	const (
		left, width, row = 190, 520, 34
	)
	top := 0.0
	for _, s := range sides {
		top = max(top, s.Most)
	}
	high := row*len(sides) + 60 + 22*len(ratios)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
<text x="12" y="24" font-size="15">%s (median; line: least to most)</text>
`, left+width+110, high, html.EscapeString(title))
	at := func(rate float64) float64 { return left + width*rate/max(top, 1) }
	for i, s := range sides {
		y := 44 + row*i
		fill := "#2563eb"
		if !strings.HasPrefix(s.Name, "footfall") {
			fill = "#9ca3af"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>
<rect x="%d" y="%d" width="%.1f" height="20" fill="%s"/>
<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="black"/>
<text x="%.1f" y="%d">%.0f</text>
`, left-8, y+15, html.EscapeString(s.Name), left, y, at(s.Rate)-left, fill,
			at(s.Least), at(s.Most), y+10, y+10, at(s.Most)+6, y+15, s.Rate)
	}
	for i, x := range ratios {
		fmt.Fprintf(&b, `<text x="12" y="%d">%s: %.2f (goal %.2f, %s)</text>
`, 44+row*len(sides)+22*i+18, html.EscapeString(x.Name), x.Median, x.Goal, x.verdict())
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// panel is one small chart of the snippets' picture.
type panel struct {
	title string
	of    func(snippetRow) spread
	goal  float64 // 0 for none
}

var panels = []panel{
	{"Bytes to load (brotli -11)", func(r snippetRow) spread {
		n := float64(r.Brotli)
		return spread{n, n, n}
	}, 0},
	{"Evaluation, ms at CPU ÷ 4", func(r snippetRow) spread { return r.Eval }, 15},
	{"All script until 1.5 s after the load, ms at CPU ÷ 4", func(r snippetRow) spread { return r.Script }, 35},
	{"JavaScript heap, KiB", func(r snippetRow) spread { return r.Heap }, 100},
}

// svg draws the snippets as bars, a panel for each figure, with the goals of ours.
func (r snippetReport) svg() string {
	const (
		left, width, row, cell = 100, 270, 26, 450
	)
	tall := row*len(r.Rows) + 64
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="12" y="24" font-size="15">One page with a snippet, against the same page without (median; line: least to most; dashed: goal)</text>
`, 2*cell, 36+tall*(len(panels)/2))
	for i, p := range panels {
		x, y := cell*(i%2), 36+tall*(i/2)
		top := p.goal
		for _, s := range r.Rows {
			top = max(top, p.of(s).Most)
		}
		at := func(v float64) float64 { return float64(x+left) + width*max(v, 0)/max(top, 1) }
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="600">%s</text>
`, x+12, y+20, html.EscapeString(p.title))
		for j, s := range r.Rows {
			v, line := p.of(s), y+32+row*j
			fill := "#9ca3af"
			if j == 0 {
				fill = "#2563eb"
			}
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>
<rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/>
<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="black"/>
<text x="%.1f" y="%d">%.0f</text>
`, x+left-8, line+12, html.EscapeString(s.Name), x+left, line, at(v.Median)-float64(x+left), fill,
				at(v.Least), at(v.Most), line+8, line+8, at(v.Most)+6, line+12, v.Median)
		}
		if p.goal > 0 {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#dc2626" stroke-dasharray="4 3"/>
`, at(p.goal), at(p.goal), y+28, y+32+row*len(r.Rows))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
