// The tag on a page: what index.js of the package is for bundlers.
import { guard, stored } from "./guard.js";
import { start } from "./start.js";

// A tag manager or a bundle has no currentScript of ours.
(WARN ? (fn) => guard(fn)() : stored)(() =>
  start([document.currentScript, ...document.scripts].find((tag) => tag?.dataset.site)),
);
