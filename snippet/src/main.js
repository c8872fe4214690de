// The tag on a page: what index.js of the package is for bundlers.
import { guard, warn } from "./guard.js";
import { start } from "./start.js";

guard(() => {
  // A tag manager or a bundle has no currentScript of ours.
  let tag = document.currentScript;
  if (!tag?.dataset.site) tag = document.querySelector("script[data-site]");
  if (WARN && !tag) return warn("no data-site");
  start(tag.dataset, tag.src);
})();
