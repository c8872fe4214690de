import { CAP } from "./limits.js";

// encode is JSON.stringify without nulls, and without the toJSON that old libraries
// give to strings, numbers and arrays.
export const encode = (value) =>
  JSON.stringify(value, function (name, value) {
    const raw = this[name] ?? undefined;
    return Object(raw) === raw && !Array.isArray(raw) ? value : raw;
  });

export const size = (text) => new Blob([text]).size;

// split halves a batch until the text of each part fits, measured in UTF-8 bytes.
// One event above the cap stays alone: the collector answers it with a reason.
export function split(batch, body) {
  const half = batch.length >> 1;
  return half && size(body(batch)) > CAP
    ? [...split(batch.slice(0, half), body), ...split(batch.slice(half), body)]
    : [batch];
}
