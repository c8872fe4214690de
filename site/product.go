package site

// product is one thing on the shelf. Price is a decimal text: it goes into pages and into the
// event of the basket button, and is never counted with here.
type product struct {
	Slug, SKU, Name, Kind string
	Price, Currency       string
	Image, Tint           string
	Lead, Story           string
	Facts                 []fact
	Sizes                 []string
	Worn                  bool // it has a size that can be measured
}

type fact struct{ Name, Value string }

func products() []product {
	return []product{
		{
			Slug: "ridge-boot", SKU: "LW-BOOT", Name: "Ridge Boot", Kind: "Walking boot",
			Price: "189.00", Currency: "EUR", Image: "boot.svg", Tint: "clay",
			Lead: "One boot for ten years of weekends. It can be resoled, and it asks to be.",
			Story: "Full-grain leather from one tannery, a sole that is stitched and not glued, " +
				"and a collar that stops rubbing on the second day instead of the tenth.",
			Facts: []fact{
				{"Upper", "2.4 mm full-grain leather"}, {"Sole", "Stitched, can be replaced"},
				{"Weight", "620 g (size 41)"}, {"Made in", "Northern Portugal"},
			},
			Sizes: []string{"39", "40", "41", "42", "43", "44"}, Worn: true,
		},
		{
			Slug: "wool-sock", SKU: "LW-SOCK", Name: "Long Mile Sock", Kind: "Merino sock",
			Price: "24.00", Currency: "EUR", Image: "sock.svg", Tint: "moss",
			Lead: "Warm when wet, quiet when worn, and darned for free when it gives up.",
			Story: "Merino where it touches you, nylon where the boot does. The toe is linked by " +
				"hand, so there is no seam to find after five hours.",
			Facts: []fact{
				{"Yarn", "74 % merino, 24 % nylon"}, {"Height", "Mid-calf"},
				{"Wash", "30 °C, no softener"}, {"Made in", "Yorkshire"},
			},
			Sizes: []string{"S", "M", "L"}, Worn: true,
		},
		{
			Slug: "field-flask", SKU: "LW-FLASK", Name: "Field Flask", Kind: "Insulated flask",
			Price: "38.00", Currency: "EUR", Image: "flask.svg", Tint: "sky",
			Lead: "Tea that is still tea at the summit. The cap is the cup.",
			Story: "Double steel with nothing in between, which is the best insulation there is. " +
				"The powder coat collects scratches the way a map collects folds.",
			Facts: []fact{
				{"Holds", "0.7 litres"}, {"Keeps hot", "14 hours"},
				{"Weight", "340 g"}, {"Made in", "Gifu, Japan"},
			},
			Sizes: []string{"0.5 l", "0.7 l", "1.0 l"},
		},
	}
}
