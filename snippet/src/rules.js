// What the tag says, and whom it does not count. The words in capitals here and in the other
// files are the counting rules: switches that the build sets, so that a rule costs no bytes
// where it does not hold. README.md has their list.
import { stored } from "./guard.js";

export let data, endpoint;

const OWN_MACHINE = /^(127\.|localhost(:|$)|\[|$)/;

// configure takes the tag's attributes and address. It tells whether this visitor, or this
// page, is not to be counted.
export const configure = (tag) => {
  data = tag.dataset;
  endpoint = new URL(data.endpoint || ENDPOINT, tag.src || location);
  return (
    (DNT && navigator.doNotTrack == 1) ||
    (!FRAMES && top != self) ||
    (GPC && navigator.globalPrivacyControl) ||
    // The developer's own machine counts where the collector is there too.
    (!LOCAL && OWN_MACHINE.test(location.host) && !OWN_MACHINE.test(endpoint.host)) ||
    stored(() => localStorage.footfall_off)
  );
};
