// The page is the host: nothing here may throw into it, and a problem is told
// once per page, not once per event.

let told;

export function warn(problem) {
  if (!told) console.warn("footfall:", problem);
  told = 1;
}

export const guard =
  (fn, complain = warn) =>
  (...args) => {
    try {
      return fn(...args);
    } catch (problem) {
      complain(problem);
    }
  };

// stored calls fn where storage may be denied, full or not there.
export const stored = (fn) => guard(fn, Boolean)();

// on listens in the capture phase of the window, which sees each event first: before
// the page can stop it, and of elements that are added later.
export function on(handlers, target = window) {
  for (const type in handlers) target.addEventListener(type, guard(handlers[type]), true);
}

// patch calls fn(this) after each call of a method of the page's.
export function patch(object, name, fn) {
  const original = object[name];
  object[name] = function () {
    const result = original.apply(this, arguments);
    guard(fn)(this);
    return result;
  };
}
