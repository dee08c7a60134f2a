/** The page's report on one listener. `waiting`: its module is not loaded yet. `failed`: it cannot be attached. `gone`: the page no longer calls it. */
export interface ListenerReport {
  name: string;
  state: 'attached' | 'waiting' | 'failed' | 'gone';
  detail: string | null;
}

/** The listeners without which a session looks connected but receives no messages or acks. */
export const essentialListeners: ReadonlySet<string> = new Set(['messages', 'acks']);
const stateNames: ReadonlySet<string> = new Set<ListenerReport['state']>(['attached', 'waiting', 'failed', 'gone']);

/** Reads the page's answer, which any code in the page can forge: reports of another form are left out. */
export const readListeners = (answer: unknown): ListenerReport[] =>
  (Array.isArray(answer) ? answer.slice(0, 20) : []).flatMap((one: unknown) => {
    const { name, state, detail } = Object(one) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof state !== 'string' || !stateNames.has(state)) return [];
    return [
      { name: name.slice(0, 40), state: state as ListenerReport['state'], detail: typeof detail === 'string' ? detail : null },
    ];
  });

/** Returns the names of essential listeners that are not attached. */
export const brokenListeners = (answer: unknown): string[] =>
  readListeners(answer).flatMap(({ name, state }) => (essentialListeners.has(name) && state !== 'attached' ? [name] : []));
