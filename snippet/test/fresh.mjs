import { readFile } from "node:fs/promises";

// Does what the build does with the query keys of a site.
export async function load(url, context, next) {
  if (!/src\/address\.js/.test(url)) return next(url, context);
  const text = await readFile(new URL(url), "utf8");
  return { format: "module", shortCircuit: true, source: text.replace("(KEPT)", String.raw`(utm_\w+|ref|source|\w*clid|q)`) };
}

// Gives each page load modules of its own: what a load imports carries its query on.
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const query = new URL(context.parentURL ?? "file:///").search;
  return query && found.url.startsWith("file:") ? { ...found, url: found.url + query } : found;
}
