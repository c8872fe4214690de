// The tag on a page: what index.js of the package is for bundlers.
import { guard, warn } from "./guard.js";
import { start } from "./start.js";

guard(() => {
  // A tag manager or a bundle has no currentScript of ours.
  const tags = [document.currentScript, document.querySelector("script[data-site]")];
  const tag = tags.find((el) => el && el.dataset.site);
  if (tag) start(tag.dataset, tag.src);
  else warn("no data-site");
})();
