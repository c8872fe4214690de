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
