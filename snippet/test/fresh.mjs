// Gives each page load modules of its own: what a load imports carries its query on.
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const query = new URL(context.parentURL ?? "file:///").search;
  return query && found.url.startsWith("file:") ? { ...found, url: found.url + query } : found;
}
