// The package for bundlers: the tag's code, started by hand. Importing it touches nothing,
// so that it can be rendered on a server.
import { start } from "./start.js";

// init starts counting: { site, endpoint } and the tag's other attributes.
export function init(options) {
  if (typeof window !== "undefined") start({ dataset: options, src: options.endpoint });
}

const call = (name) => (...args) => {
  if (typeof window === "undefined" || !window.footfall) return;
  return (name ? window.footfall[name] : window.footfall)(...args);
};

// footfall is window.footfall, and nothing where there is none.
export const footfall = Object.assign(call(), {
  page: call("page"),
  identify: call("identify"),
  set: call("set"),
  consent: call("consent"),
  use: call("use"),
  off: call("off"),
});
