import { CAP } from "./limits.js";

export const size = (text) => new Blob([text]).size;

// split halves events until the text of each part fits, measured in UTF-8 bytes.
// One event above the cap stays alone: the collector answers it with a reason.
export function split(events, encode) {
  const half = events.length >> 1;
  return half && size(encode(events)) > CAP
    ? [...split(events.slice(0, half), encode), ...split(events.slice(half), encode)]
    : [events];
}
