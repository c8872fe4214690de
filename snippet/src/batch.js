// encode is JSON.stringify without nulls, and without the toJSON that old libraries
// give to strings, numbers and arrays.
export const encode = (value) =>
  JSON.stringify(value, function (raw, value) {
    raw = this[raw] ?? undefined; // it was the name
    return Object(raw) !== raw || raw.map ? raw : value;
  });
