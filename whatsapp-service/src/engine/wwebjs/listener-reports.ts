/** A kind of event of the page. `waiting`: its module is not loaded yet. `failed`: it cannot be received. `gone`: it was, and is not any more. */
export interface ListenerReport {
  name: string;
  state: 'attached' | 'waiting' | 'failed' | 'gone';
  detail: string | null;
}

/** Kinds of events without which a session looks connected and is not. */
export const essentialListeners: ReadonlySet<string> = new Set(['messages', 'acks']);
const stateNames: ReadonlySet<string> = new Set<ListenerReport['state']>(['attached', 'waiting', 'failed', 'gone']);

/** Reads the page's answer. Any code in the page can change it. */
export const readListeners = (answer: unknown): ListenerReport[] =>
  (Array.isArray(answer) ? answer.slice(0, 20) : []).flatMap((one: unknown) => {
    const { name, state, detail } = Object(one) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof state !== 'string' || !stateNames.has(state)) return [];
    return [
      { name: name.slice(0, 40), state: state as ListenerReport['state'], detail: typeof detail === 'string' ? detail : null },
    ];
  });

/** The essential kinds of events that the page does not report any more. */
export const brokenListeners = (answer: unknown): string[] =>
  readListeners(answer).flatMap(({ name, state }) => (essentialListeners.has(name) && state !== 'attached' ? [name] : []));
