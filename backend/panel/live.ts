import { useEffect, useState } from 'react';
import type { SessionView } from '../src/admin/views/session.js';
import { root } from './api.js';

export interface Live {
  session: SessionView | null;
  state: 'opening' | 'live' | 'lost' | 'gone';
}

/** Follows one session over server-sent events. The browser reconnects by itself when the connection is lost. */
export function useSession(id: string): Live {
  const [live, setLive] = useState<Live>({ session: null, state: 'opening' });
  useEffect(() => {
    const source = new EventSource(`${root}/live/sessions/${encodeURIComponent(id)}/stream`);
    source.addEventListener('session', (event) => {
      setLive({ session: JSON.parse((event as MessageEvent<string>).data) as SessionView, state: 'live' });
    });
    source.addEventListener('gone', () => {
      source.close();
      setLive((before) => ({ ...before, state: 'gone' }));
    });
    source.addEventListener('out', () => window.location.assign(`${root}/login`));
    source.addEventListener('error', () =>
      setLive((before) => (before.state === 'gone' ? before : { ...before, state: 'lost' })),
    );
    return () => source.close();
  }, [id]);
  return live;
}
