/** What a property may hold; it travels as JSON. */
export type Props = Record<string, unknown>;

/** Fields of the event itself. */
export interface Fields {
  revenue?: number | string;
  /** Three letters, ISO 4217. */
  currency?: string;
  user_id?: string;
  /** True when the collector has the event, false when it never will, nothing when nobody knows. */
  callback?: (taken?: boolean) => void;
}

export interface Options {
  site: string;
  /** Where events are posted, like https://c.shop.example/e. */
  endpoint: string;
  /** An id in sessionStorage. */
  session?: "tab";
  auto?: "false";
  consent?: "wait";
  transport?: "beacon";
}

/** An event on its way; a hook of core.before may change it or return false. */
export interface Event {
  type: string;
  name?: string;
  url?: string;
  referrer?: string;
  title?: string;
  props: Props;
  [field: string]: unknown;
}

/** An event as it is sent, which no hook changes any more. */
export interface Sealed {
  sealed: Event;
  callback?: (taken?: boolean) => void;
}

export interface Core {
  record(type: "custom" | "click" | "form", fields: Fields & { name?: string; props?: Props }): void;
  /** Beside the extension later, a draft of a leave comes here too: drafted is true. */
  before: Array<(event: Event, drafted?: boolean) => unknown>;
  data: Readonly<Record<string, string | undefined>>;
  endpoint: URL;
  /** As it stands. */
  readonly consent?: string;
  /** Set to events that could not be sent and are tried again. */
  held?: ReadonlyArray<Sealed>;
  /** Sends one as it is. */
  add(event: Sealed): void;
}

export interface Footfall {
  (name: string, props?: Props, fields?: Fields): void;
  page(props?: Props): void;
  identify(id: string | null): void;
  set(props: Props): void;
  consent(state: "wait" | "yes" | "no"): void;
  use(extension: (core: Core) => void): void;
  off(undo?: false): void;
}

/** Starts counting; does nothing on a server, or where a tag already counts. */
export function init(options: Options): void;
export const footfall: Footfall;
